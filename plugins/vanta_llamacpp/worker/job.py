"""One request on its way through the engine, and the statistics of all requests.

Invariant: a job ends exactly once. A `JobEnd` is then the last item in its mailbox, and no thread
works on the job any more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from vanta import Delta, EngineError, EngineTimings, Receipt, Usage
from vanta_llamacpp.model import NO_OWNER, PromptOwner
from vanta_llamacpp.prompt import TokenizedRequest
from vanta_llamacpp.worker.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class JobEnd:
    """The last item in a job's mailbox."""

    receipt: Receipt


class Job:
    """A request that is queued or served.

    The event loop creates it, the worker counts and ends it, any thread may stop it.

    :param request: the tokens to continue.
    :param model: the name of the model, for the last delta.
    :param requested_at: the `time.perf_counter()` at which the request arrived.
    :param owner: whose prompt it is.
    """

    def __init__(
        self,
        request: TokenizedRequest,
        *,
        model: str,
        requested_at: float,
        owner: PromptOwner = NO_OWNER,
    ) -> None:
        self.request = request
        self.model = model
        self.owner = owner
        self.mailbox: Mailbox[Delta | EngineError | JobEnd] = Mailbox()
        self.started = False
        self.finished = False
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
        self._sampled = 0
        self._tokens_after_stop = 0
        self._requested_at = requested_at
        self._queued_at = time.perf_counter()
        self._started_at = self._last_at = self._queued_at
        self._first_at: float | None = None
        self._start_cpu_s: float | None = None
        self._stop_cpu_s: float | None = None
        self._stop_error: EngineError | None = None

    @property
    def stop_requested(self) -> bool:
        """Whether the job is to stop."""
        return self._stop_cpu_s is not None

    def request_stop(self, error: EngineError | None = None) -> None:
        """Request a stop; the reader then receives `error`. Safe in any thread, idempotent."""
        if self._stop_cpu_s is None:
            self._stop_error = error
            self._stop_cpu_s = time.process_time()

    def start(self) -> None:
        """Record that the worker serves the job from now on."""
        self._started_at = time.perf_counter()
        self._start_cpu_s = time.process_time()
        self.started = True

    def record_sample(self) -> None:
        """Count a sampled token, including the one that ends the answer."""
        self._sampled += 1
        self._last_at = time.perf_counter()
        if self._first_at is None:
            self._first_at = self._last_at

    def record_output(self) -> None:
        """Count a token of the answer."""
        self.output_tokens += 1
        self._tokens_after_stop += self.stop_requested

    def end(self, error: EngineError | None = None) -> None:
        """Send `error`, if any, and the JobEnd; called once nothing works on the job any more."""
        reason = error or (None if self.finished else self._stop_error)
        if reason is not None:
            self.mailbox.put(reason)
        self.mailbox.put(JobEnd(self._receipt()))

    def usage(self) -> Usage:
        """Return the tokens so far."""
        return Usage(len(self.request.tokens), self.output_tokens, self.cached_tokens)

    def timings(self) -> EngineTimings:
        """Return the times so far; meaningful once a token was sampled."""
        first_at, rest = self._first_at or self._last_at, self._sampled - 1
        return EngineTimings(
            queue_s=self._started_at - self._queued_at,
            prefill_s=first_at - self._started_at,
            first_token_s=first_at - self._requested_at,
            per_token_s=(self._last_at - first_at) / rest if rest > 0 else None,
        )

    def _receipt(self) -> Receipt:
        stop, start = self._stop_cpu_s, self._start_cpu_s
        return Receipt(
            input_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            tokens_after_stop=self._tokens_after_stop,
            cpu_after_stop_s=0.0 if stop is None or not self.started else _cpu_since(stop),
            cpu_s=0.0 if start is None else _cpu_since(start),
        )


def _cpu_since(start_s: float) -> float:
    """Return CPU seconds of the whole process: llama.cpp computes in threads of its own."""
    return max(0.0, time.process_time() - start_s)


@dataclass(slots=True)
class WorkerStats:
    """Counters of one engine, written by the worker's thread and never reset.

    :param load_s: seconds of the last load.
    :param prefilled_tokens: prompt tokens that were computed, not found in the KV cache.
    :param embedded_texts: texts whose vectors were computed.
    :param swaps: how often two sequences were swapped to lie side by side.
    :param busy_s: seconds spent on requests.
    """

    loads: int = 0
    unloads: int = 0
    load_s: float = 0.0
    requests: int = 0
    stopped: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    prefilled_tokens: int = 0
    embedded_texts: int = 0
    steps: int = 0
    swaps: int = 0
    busy_s: float = 0.0

    def record(self, job: Job, *, failed: bool) -> None:
        """Count a job that has ended."""
        self.requests += 1
        self.stopped += job.stop_requested and not job.finished
        self.failed += failed
        self.input_tokens += job.prompt_tokens
        self.cached_input_tokens += job.cached_tokens
        self.output_tokens += job.output_tokens
