"""The one thread that owns the model and its context.

Invariant: nothing but this thread loads, decodes, samples or frees. `close` may be called from any
thread and any number of times; when it returns, the thread is gone and all memory is released.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vanta.errors import EngineError
from vanta_llamacpp.faults import Faults
from vanta_llamacpp.inbox import Inbox, Load, closed
from vanta_llamacpp.job import Job
from vanta_llamacpp.model import Model
from vanta_llamacpp.native import AbortFlag
from vanta_llamacpp.serving import serve


@dataclass(slots=True)
class Tally:
    """What the worker has done so far; seconds and tokens."""

    loads: int = 0
    load_s: float = 0.0
    requests: int = 0
    stopped: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    busy_s: float = 0.0


class Worker:
    """`load` makes the model when it is first wanted; its argument says whether to go on."""

    def __init__(
        self, load: Callable[[AbortFlag, Callable[[], bool]], Model], inbox: Inbox, faults: Faults
    ) -> None:
        self._load = load
        self._inbox = inbox
        self._faults = faults
        self._abort = AbortFlag()
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.model: Model | None = None
        self.failure: EngineError | None = None
        self.tally = Tally()

    def start(self) -> None:
        """Start the thread, once. Raises EngineError in a process that forked since."""
        if os.getpid() != self._process:
            raise self._faults.not_loaded(
                "the engine belongs to the process that this one was forked from",
                "Open a runtime of its own in each process.",
            )
        with self._starting:
            if self._thread is None and not self._inbox.closed:
                self._thread = threading.Thread(
                    target=self._run, name=f"vanta-llamacpp-{self._faults.model}", daemon=True
                )
                self._thread.start()

    def stop(self, job: Job) -> None:
        """Stop a job: at once if it waits, within one step if it is being worked on."""
        if self._inbox.stop(job):
            self._abort.set()

    def close(self) -> None:
        """End everything and join the thread; blocking for one step at the most."""
        with self._starting:
            self._inbox.close(lambda: closed(self._faults))
            thread = self._thread
        if os.getpid() != self._process or thread is threading.current_thread():
            return
        self._abort.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        try:
            while (task := self._inbox.take()) is not None:
                if isinstance(task, Load):
                    task.mailbox.put(self._loaded())
                else:
                    self._serve(task)
        finally:
            self._inbox.close(lambda: closed(self._faults))
            if self.model is not None:
                self.model.close()
                self.model = None

    def _loaded(self) -> EngineError | None:
        """Load the model if it is not there. Returns why it could not be."""
        if self.model is not None:
            return None
        start = time.perf_counter()
        try:
            self.model = self._load(self._abort, lambda: not self._inbox.closed)
        except EngineError as error:
            self.failure = closed(self._faults) if self._inbox.closed else error
            return self.failure
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever waits is told
            self.failure = _wrapped(self._faults, error)
            return self.failure
        self.failure = None
        self.tally.loads += 1
        self.tally.load_s = time.perf_counter() - start
        return None

    def _serve(self, job: Job) -> None:
        """Serve one job to its end; no error of one touches the next."""
        start = time.perf_counter()
        failure: EngineError | None = None
        job.begin()
        try:
            if self.model is None:
                raise closed(self._faults)
            serve(self.model, job)
        except EngineError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever it was, the reader is told
            failure = _wrapped(self._faults, error)
        self._count(job, failure, time.perf_counter() - start)
        self._inbox.done(job)
        job.end(failure)

    def _count(self, job: Job, failure: EngineError | None, seconds: float) -> None:
        tally = self.tally
        tally.requests += 1
        tally.stopped += job.stop_asked and not job.finished
        tally.failed += failure is not None
        tally.input_tokens += job.read_tokens
        tally.cached_input_tokens += job.cached_tokens
        tally.output_tokens += job.output_tokens
        tally.busy_s += seconds


def _wrapped(faults: Faults, cause: Exception) -> EngineError:
    error = faults.broken(f"the engine failed: {cause!r}")
    error.__cause__ = cause
    return error
