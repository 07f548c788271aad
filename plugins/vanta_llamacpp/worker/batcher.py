"""Continuous batching: the steps of each round, for all requests that are served.

A round decodes one token of every answer, in one step or a few (see `step_planner`), and then
prefills one chunk of a prompt, or several of short ones. Chunks are steps of their own, so that no
answer depends on the other requests (see `slots`). Prefill takes no longer in all than the decoding
beside it, so a long prompt less than doubles the mean pause between two tokens. Prompts take turns,
a chunk each.

Invariant: between steps every slot holds exactly the tokens up to its generation's position. A step
that was aborted is rewound and repeated. A step that failed ends the request that caused it and no
other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from vanta import EngineError
from vanta_llamacpp.model import EXACT_ROWS, Aborted, LlamaModel, common_prefix
from vanta_llamacpp.worker.generation import Generation
from vanta_llamacpp.worker.job import Job, WorkerStats
from vanta_llamacpp.worker.step_planner import StepPlanner, cells_of
from vanta_llamacpp.worker.thread_tuning import MIN_CHUNK, ThreadTuner

WORTH_WAITING = 32
"""Shared prompt tokens for which a job waits until another has prefilled them, to copy them."""

OnEnd = Callable[[Job, EngineError | None], None]
Part = tuple[Generation, Sequence[int]]
"""The tokens of one generation in a step."""


class Batcher:
    """Serves many jobs on one model.

    :param tuner: receives the times of steps, and decides on the number of threads.
    :param stats: the engine's counters.
    :param on_end: called for each job once nothing works on it any more.
    """

    def __init__(
        self, model: LlamaModel, tuner: ThreadTuner, stats: WorkerStats, on_end: OnEnd
    ) -> None:
        self._model = model
        self._slots = model.slots
        self._planner = StepPlanner(model.slots, model.pass_cells, stats)
        self._tuner = tuner
        self._stats = stats
        self._on_end = on_end
        self._admitted: list[Job] = []
        self._running: list[Generation] = []
        self._one_by_one = False
        self.prefilling: Job | None = None

    def __len__(self) -> int:
        """Return the number of jobs that are served."""
        return len(self._admitted) + len(self._running)

    @property
    def free_slots(self) -> int:
        """Return how many more jobs can be admitted."""
        return len(self._slots.all) - len(self)

    def admit(self, job: Job) -> None:
        """Serve `job` from now on; there must be a free slot."""
        job.start()
        self._admitted.append(job)

    def run_round(self) -> None:
        """Decode one token of every answer, then prefill prompts for as long as that took."""
        self._drop_stopped()
        self._start_admitted()
        decoding = {item.slot: item for item in self._running if not item.prefilling}
        steps = (
            [[slot] for slot in decoding] if self._one_by_one else self._planner.steps([*decoding])
        )
        self._one_by_one = False
        start = time.perf_counter()
        for step in steps:
            self._decode_step([decoding[slot] for slot in step])
        if steps:
            self._tuner.record_round(time.perf_counter() - start)
        budget = self._prefill_budget(decoding=bool(decoding))
        for generation in [item for item in self._running if item.prefilling]:
            if budget < MIN_CHUNK:
                break
            budget -= max(MIN_CHUNK, self._prefill_step(generation, budget))

    def fail(self, make_error: Callable[[], EngineError]) -> None:
        """End every job with an error of its own."""
        for job in [*self._admitted, *(item.job for item in self._running)]:
            self._drop(job, make_error())

    def _drop_stopped(self) -> None:
        for job in [*self._admitted, *(item.job for item in self._running)]:
            if job.stop_requested:
                self._drop(job, None)

    def _drop(self, job: Job, error: EngineError | None) -> None:
        if job in self._admitted:
            self._admitted.remove(job)
        for generation in [item for item in self._running if item.job is job]:
            self._running.remove(generation)
            if error is not None:
                self._slots.rewind(generation.slot, 0)
            self._slots.release(generation.slot)
            generation.close()
        self._on_end(job, error)

    def _start_admitted(self) -> None:
        for job in list(self._admitted):
            if not self._prefix_in_progress(job):
                self._start(job)

    def _prefix_in_progress(self, job: Job) -> bool:
        """Return whether another job is prefilling a prefix that is worth waiting for."""
        prompt = job.request.tokens
        others = [item.job for item in self._running if item.prefilling]
        longest = max((_reusable(other, job) for other in others), default=0)
        return longest > WORTH_WAITING and longest > self._slots.cached(prompt, job.owner)

    def _start(self, job: Job) -> None:
        """Give the job a slot. Any error ends this job and no other."""
        tokens, slot = job.request.tokens, None
        self._admitted.remove(job)
        try:
            chunked = tokens[: len(tokens) - job.request.stepwise_tokens]
            slot, cached = self._slots.acquire(chunked, job.owner)
            self._running.append(Generation(self._model, job, slot, cached))
        except Exception as error:  # noqa: BLE001 - any error belongs to this job
            if slot is not None:
                self._slots.release(slot)
            self._on_end(job, self._model.faults.wrap(error))

    def _decode_step(self, generations: list[Generation]) -> None:
        self._model.abort.clear()
        generations = [item for item in generations if not item.job.stop_requested]
        if not generations:
            return
        rows, took_s = self._run_step([(item, item.pending(1)) for item in generations])
        if took_s is None:
            return
        cells = max(cells_of(item.slot) for item in generations)
        self._tuner.record_decode(len(rows), cells, took_s)
        for generation, row in zip(generations, rows, strict=True):
            self._sample(generation, row)
        self._model.use_threads(self._tuner.threads)

    def _prefill_budget(self, *, decoding: bool) -> int:
        """Return how many prompt tokens to prefill in this round."""
        limit = self._model.chunk
        return min(limit, self._tuner.prefill_budget()) if decoding else limit

    def _prefill_step(self, generation: Generation, limit: int) -> int:
        """Prefill one chunk, in a step of its own; return its tokens.

        Prompts without a chunk in this round come first in the next.
        """
        self._running.remove(generation)
        self._running.append(generation)
        job = self.prefilling = generation.job
        # Cleared before the check, so that no stop falls between the two.
        self._model.abort.clear()
        if job.stop_requested:
            return 0
        remaining = generation.remaining - job.request.stepwise_tokens
        tokens = generation.pending(_chunk(remaining, limit))
        rows, took_s = self._run_step([(generation, tokens)])
        self.prefilling = None
        if took_s is not None:
            self._tuner.record_prefill(len(tokens), took_s)
            self._stats.prefilled_tokens += len(tokens)
            if not generation.remaining:
                self._sample(generation, rows[0])
        return len(tokens)

    def _run_step(self, parts: list[Part]) -> tuple[list[int], float | None]:
        """Run one step.

        Returns the batch index of each part's last token, and the seconds the step took, or None if
        it was aborted or failed.
        """
        batch, start = self._model.batch, time.perf_counter()
        batch.clear()
        rows = [
            batch.add(
                tokens, item.position, item.slot.sequence, logits=item.remaining == len(tokens)
            )
            for item, tokens in parts
        ]
        self._stats.steps += 1
        try:
            self._model.decode()
        except Aborted:
            self._rewind(parts)
            return rows, None
        except EngineError as error:
            self._handle_failure(parts, error)
            return rows, None
        for item, tokens in parts:
            self._slots.append(item.slot, tokens, exact=len(tokens) >= EXACT_ROWS)
            item.advance_to(item.position + len(tokens))
        return rows, time.perf_counter() - start

    def _handle_failure(self, parts: list[Part], error: EngineError) -> None:
        """End the request of a failed step. A step of several is repeated one by one."""
        if len(parts) == 1:
            self._drop(parts[0][0].job, error)
            return
        self._one_by_one = True
        self._rewind(parts)

    def _rewind(self, parts: list[Part]) -> None:
        for item, _ in parts:
            item.advance_to(self._slots.rewind(item.slot, item.position))

    def _sample(self, generation: Generation, row: int) -> None:
        try:
            generation.sample(row)
        except Exception as error:  # noqa: BLE001 - any error belongs to this job
            self._drop(generation.job, self._model.faults.wrap(error))
            return
        if generation.done:
            self._drop(generation.job, None)


def _reusable(source: Job, job: Job) -> int:
    """Return how many tokens of the source's prompt `job` may reuse, once they are computed."""
    known, prompt = source.request.tokens, job.request.tokens
    limit = min(len(known), len(prompt)) - EXACT_ROWS
    return common_prefix(known, prompt, source.owner.shares_with(job.owner, limit))


def _chunk(remaining: int, limit: int) -> int:
    """Return how many of `remaining` tokens to prefill now, at most `limit`.

    Leaves none or at least EXACT_ROWS, so that the last step is exact too. 1 if only the tokens
    remain that are prefilled one by one.
    """
    if remaining <= 0:
        return 1
    return limit - EXACT_ROWS if 0 < remaining - limit < EXACT_ROWS else min(limit, remaining)
