"""Continuous batching: what goes into each step, for all requests that are being served.

A round is a token for each who writes, in one step or a few (see `planning`), then one chunk of a
prompt, or several of short ones. Chunks are steps of their own, so that no answer depends on who
else is served (see `slots`), and what is read takes no longer in all than what is written beside
it, so that a long prompt less than doubles the writers' pauses in the mean. Prompts take turns by
the chunk.

Invariant: between steps every slot holds exactly what its generation has moved to; a step that was
aborted is rewound and taken again, one that failed ends the request that made it fail and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from vanta.errors import EngineError
from vanta_llamacpp.model.model import Aborted, LlamaModel
from vanta_llamacpp.worker.generation import Generation
from vanta_llamacpp.worker.job import Job
from vanta_llamacpp.worker.slots import EXACT_ROWS, common_prefix
from vanta_llamacpp.worker.statistics import Tally
from vanta_llamacpp.worker.step_planner import Planner, cells_of
from vanta_llamacpp.worker.thread_tuning import SMALLEST_CHUNK, Pace

WORTH_WAITING = 32
"""Tokens of a prompt that another request is just reading: rather copy them than read them too."""

End = Callable[[Job, EngineError | None], None]
Part = tuple[Generation, Sequence[int]]
"""Tokens of one generation in a step."""


class Batcher:
    """Serves many jobs on one model; `end` is told of each when nothing works on it any more."""

    def __init__(self, model: LlamaModel, pace: Pace, tally: Tally, end: End) -> None:
        self._model = model
        self._slots = model.slots
        self._planner = Planner(model.slots, model.pass_cells, tally)
        self._pace = pace
        self._tally = tally
        self._end = end
        self._held: list[Job] = []
        self._running: list[Generation] = []
        self._apart = False
        self.reading: Job | None = None

    def __len__(self) -> int:
        return len(self._held) + len(self._running)

    @property
    def room(self) -> int:
        """How many more jobs can be served."""
        return len(self._slots.all) - len(self)

    def admit(self, job: Job) -> None:
        """Serve `job` from now on; there has to be room."""
        job.begin()
        self._held.append(job)

    def round(self) -> None:
        """A token for each who writes, then of prompts what takes as long."""
        self._let_go()
        self._begin_held()
        writers = {each.slot: each for each in self._running if each.left == 1}
        steps = [[slot] for slot in writers] if self._apart else self._planner.steps([*writers])
        self._apart = False
        begun = time.perf_counter()
        for step in steps:
            self._write([writers[slot] for slot in step])
        if steps:
            self._pace.wrote_round(time.perf_counter() - begun)
        room = self._room(beside=bool(writers))
        for reader in [each for each in self._running if each.left > 1]:
            if room < SMALLEST_CHUNK:
                break
            room -= max(SMALLEST_CHUNK, self._read(reader, room))

    def fail(self, error: Callable[[], EngineError]) -> None:
        """Something broke that concerns everyone."""
        for job in [*self._held, *(each.job for each in self._running)]:
            self._drop(job, error())

    def _let_go(self) -> None:
        for job in [*self._held, *(each.job for each in self._running)]:
            if job.stop_asked:
                self._drop(job, None)

    def _drop(self, job: Job, error: EngineError | None) -> None:
        if job in self._held:
            self._held.remove(job)
        for each in [each for each in self._running if each.job is job]:
            self._running.remove(each)
            if error is not None:
                self._slots.rewind(each.slot, 0)
            self._slots.release(each.slot)
            each.close()
        self._end(job, error)

    def _begin_held(self) -> None:
        for job in list(self._held):
            if not self._being_read_for(job):
                self._begin(job)

    def _being_read_for(self, job: Job) -> bool:
        """Whether somebody is just reading what `job` begins with, too."""
        prompt = job.prompt.tokens
        shared = (
            common_prefix(
                each.job.prompt.tokens,
                prompt,
                min(len(each.job.prompt.tokens), len(prompt)) - EXACT_ROWS,
            )
            for each in self._running
            if each.left > 1
        )
        longest = max(shared, default=0)
        return longest > WORTH_WAITING and longest > self._slots.cached(prompt)

    def _begin(self, job: Job) -> None:
        """Give it a slot. Whatever goes wrong with it is told to its reader and harms no other."""
        tokens, slot = job.prompt.tokens, None
        self._held.remove(job)
        try:
            slot, kept = self._slots.claim(tokens[: len(tokens) - job.prompt.written], job.session)
            self._running.append(Generation(self._model, job, slot, kept))
        except Exception as error:  # noqa: BLE001 - see above
            if slot is not None:
                self._slots.release(slot)
            self._end(job, self._model.faults.told(error))

    def _write(self, writers: list[Generation]) -> None:
        self._model.abort.clear()
        writers = [each for each in writers if not each.job.stop_asked]
        if not writers:
            return
        rows, took_s = self._decode([(each, each.pending(1)) for each in writers])
        if took_s is None:
            return
        self._pace.wrote(len(rows), max(cells_of(each.slot) for each in writers), took_s)
        for each, row in zip(writers, rows, strict=True):
            self._choose(each, row)
        self._model.use_threads(self._pace.threads)

    def _room(self, *, beside: bool) -> int:
        """Tokens of prompts to read in this round."""
        most = self._model.chunk
        return min(most, self._pace.tokens_beside()) if beside else most

    def _read(self, reader: Generation, most: int) -> int:
        """One chunk, in a step of its own; returns its tokens. Those who were not reached come
        first in the next round."""
        self._running.remove(reader)
        self._running.append(reader)
        self.reading = reader.job
        # Cleared before the question, so that no stop falls between the two.
        self._model.abort.clear()
        if reader.job.stop_asked:
            return 0
        tokens = reader.pending(_chunk(reader.left - reader.job.prompt.written, most))
        rows, took_s = self._decode([(reader, tokens)])
        self.reading = None
        if took_s is not None:
            self._pace.read(len(tokens), took_s)
            self._tally.prefilled_tokens += len(tokens)
            if not reader.left:
                self._choose(reader, rows[0])
        return len(tokens)

    def _decode(self, parts: list[Part]) -> tuple[list[int], float | None]:
        """Take one step; the rows of its last tokens and the seconds, None where it came to
        nothing."""
        batch, start = self._model.batch, time.perf_counter()
        batch.clear()
        rows = [
            batch.add(tokens, each.position, each.slot.sequence, logits=each.left == len(tokens))
            for each, tokens in parts
        ]
        self._tally.steps += 1
        try:
            self._model.decode()
        except Aborted:
            for each, _ in parts:
                each.moved_to(self._slots.rewind(each.slot, each.position))
            return rows, None
        except EngineError as error:
            self._failed(parts, error)
            return rows, None
        self._grew(parts)
        return rows, time.perf_counter() - start

    def _failed(self, parts: list[Part], error: EngineError) -> None:
        """A step of several is taken again one by one: whose fault it was is not known."""
        if len(parts) == 1:
            self._drop(parts[0][0].job, error)
            return
        self._apart = True
        for each, _ in parts:
            each.moved_to(self._slots.rewind(each.slot, each.position))

    def _grew(self, parts: list[Part]) -> None:
        for each, tokens in parts:
            self._slots.grew(each.slot, tokens, exact=len(tokens) >= EXACT_ROWS)
            each.moved_to(each.position + len(tokens))

    def _choose(self, generation: Generation, row: int) -> None:
        try:
            generation.choose(row)
        except Exception as error:  # noqa: BLE001 - it is this request's, and harms no other
            self._drop(generation.job, self._model.faults.told(error))
            return
        if generation.done:
            self._drop(generation.job, None)


def _chunk(left: int, most: int) -> int:
    """Tokens to read now, of so many that are `left` before what is read one by one; never so that
    too few are left for an exact end."""
    if left <= 0:
        return 1
    return most - EXACT_ROWS if 0 < left - most < EXACT_ROWS else min(most, left)
