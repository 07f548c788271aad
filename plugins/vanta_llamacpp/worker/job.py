"""One request on its way through the engine: what is asked, what came of it, who wants it stopped.

Invariant: a job ends exactly once, with an `Ended` in its mailbox after all else; whoever waits for
that knows that no thread works on the job any more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from vanta.engine import Receipt, Sampling
from vanta.errors import EngineError
from vanta.messages import Delta, EngineTimings, Usage
from vanta_llamacpp.worker.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing in a job's mailbox."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be generated from. limit: output tokens at the most; grammar: GBNF or None;
    tools: calls are to be looked for; reasoning: the prompt ends inside a reasoning; begun: so many
    tokens at the end are of the answer already; written: so many of these are read as they were
    written, one by one."""

    tokens: tuple[int, ...]
    limit: int
    sampling: Sampling
    grammar: str | None = None
    tools: bool = False
    reasoning: bool = False
    begun: int = 0
    written: int = 0


class Job:
    """Made in the event loop; counted and ended by the worker; stopped by anyone."""

    def __init__(self, prompt: Prompt, *, model: str, asked_at: float, session: str = "") -> None:
        self.prompt = prompt
        self.model = model
        self.session = session
        self.mailbox: Mailbox[Delta | EngineError | Ended] = Mailbox()
        self.started = False
        self.finished = False
        self.read_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
        self._chosen = 0
        self._tokens_after_stop = 0
        self._asked_at = asked_at
        self._queued_at = time.perf_counter()
        self._started_at = self._last_at = self._queued_at
        self._first_at: float | None = None
        self._begun_cpu_s: float | None = None
        self._stop_cpu_s: float | None = None
        self._stop_error: EngineError | None = None

    @property
    def stop_asked(self) -> bool:
        """True once somebody wants it stopped."""
        return self._stop_cpu_s is not None

    def ask_stop(self, error: EngineError | None = None) -> None:
        """Want it stopped; `error` is what its reader is told. Callable from any thread."""
        if self._stop_cpu_s is None:
            self._stop_error = error
            self._stop_cpu_s = time.process_time()

    def begin(self) -> None:
        """The worker turns to it."""
        self._started_at = time.perf_counter()
        self._begun_cpu_s = time.process_time()
        self.started = True

    def chose(self) -> None:
        """A token was chosen, be it the one that ends the answer."""
        self._chosen += 1
        self._last_at = time.perf_counter()
        if self._first_at is None:
            self._first_at = self._last_at

    def count(self) -> None:
        """A token of the answer was produced."""
        self.output_tokens += 1
        self._tokens_after_stop += self.stop_asked

    def end(self, error: EngineError | None = None) -> None:
        """Nothing works on it any more."""
        told = error or (None if self.finished else self._stop_error)
        if told is not None:
            self.mailbox.put(told)
        self.mailbox.put(Ended(self._receipt()))

    def _receipt(self) -> Receipt:
        since, begun = self._stop_cpu_s, self._begun_cpu_s
        return Receipt(
            input_tokens=self.read_tokens,
            output_tokens=self.output_tokens,
            tokens_after_stop=self._tokens_after_stop,
            cpu_after_stop_s=0.0 if since is None or not self.started else _cpu_since(since),
            cpu_s=0.0 if begun is None else _cpu_since(begun),
        )

    def usage(self) -> Usage:
        """The tokens so far."""
        return Usage(len(self.prompt.tokens), self.output_tokens, self.cached_tokens)

    def timings(self) -> EngineTimings:
        """The times so far; meaningful once a token was chosen."""
        first_at, rest = self._first_at or self._last_at, self._chosen - 1
        return EngineTimings(
            queue_s=self._started_at - self._queued_at,
            prefill_s=first_at - self._started_at,
            first_token_s=first_at - self._asked_at,
            per_token_s=(self._last_at - first_at) / rest if rest > 0 else None,
        )


def _cpu_since(start_s: float) -> float:
    """CPU seconds of the whole process: llama.cpp computes in threads of its own."""
    return max(0.0, time.process_time() - start_s)
