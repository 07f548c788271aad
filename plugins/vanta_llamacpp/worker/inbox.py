"""The worker's inbox: what is wanted of the model at once, and jobs, whose sessions take turns.

Invariant: every job that was let in is either waiting, active or ended, and only the inbox's lock
moves it; after `close` nothing gets in, and what waited has ended with an error.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from vanta.errors import EngineError, ErrorKind
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.worker.job import Job
from vanta_llamacpp.worker.mailbox import Mailbox

_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Load:
    """Somebody waits for the model; the mailbox gets None, or why there is none."""

    mailbox: Mailbox[EngineError | None]


@dataclass(slots=True, eq=False)
class Embed:
    """Somebody waits for the vectors of texts, given as tokens; or for why there are none. left:
    nobody does any more."""

    texts: Sequence[Sequence[int]]
    mailbox: Mailbox[EngineError | list[list[float]]]
    left: bool = False


@dataclass(frozen=True, slots=True)
class Unload:
    """Another engine's model wants the room; `done` tells whether this one's has left."""

    done: Future[bool]


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing of earlier requests shall be kept; the mailbox gets None, or why that failed."""

    mailbox: Mailbox[EngineError | None]


Wanted = Load | Embed | Unload | Forget


class Inbox:
    """Bounded: `limit` jobs may wait, and as many who want vectors. All methods are safe in any
    thread."""

    def __init__(self, limit: int, faults: Faults) -> None:
        self._limit = limit
        self._faults = faults
        self._asked: deque[Wanted] = deque()
        self._waiting: deque[Job] = deque()
        self._active: set[Job] = set()
        self._served: dict[str, int] = {}
        self._turns = itertools.count()
        self._changed = threading.Condition()
        self._gave_vectors = False
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, wanted: Wanted) -> None:
        """Want the model, vectors, or its room. Raises EngineError once closed, and where too many
        want vectors."""
        with self._changed:
            self._refuse_if_closed()
            if isinstance(wanted, Embed):
                self._refuse_if_full(sum(isinstance(each, Embed) for each in self._asked))
            self._asked.append(wanted)
            self._changed.notify()

    def put(self, job: Job) -> None:
        """Let a job in. Raises EngineError where the queue is full or closed."""
        with self._changed:
            self._refuse_if_closed()
            self._refuse_if_full(len(self._waiting))
            self._waiting.append(job)
            self._changed.notify()

    def take(self, *, room: bool, wait: bool) -> Wanted | Job | None:
        """The next thing to do; None for none. room: whether it may be a job. wait: until there
        is one, or the inbox is closed. After vectors a job comes first."""
        with self._changed:
            while wait and not (self._asked or (room and self._waiting) or self.closed):
                self._changed.wait()
            if self.closed:
                return None
            job_waits = room and bool(self._waiting)
            if self._asked and not (self._gave_vectors and job_waits):
                wanted = self._asked.popleft()
                self._gave_vectors = isinstance(wanted, Embed)
                return wanted
            self._gave_vectors = False
            return self._next_job() if job_waits else None

    def _next_job(self) -> Job:
        """Of the session that was served longest ago, the oldest."""
        job = min(self._waiting, key=lambda job: self._served.get(job.session, -1))
        self._waiting.remove(job)
        self._active.add(job)
        self._served.pop(job.session, None)
        self._served[job.session] = next(self._turns)
        if len(self._served) > _REMEMBERED:
            del self._served[next(iter(self._served))]
        return job

    def done(self, job: Job) -> None:
        """The worker has finished with `job`."""
        with self._changed:
            self._active.discard(job)

    def stop(self, job: Job) -> bool:
        """Stop a job. True if the worker is on it and has to be interrupted."""
        job.ask_stop()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.end()
            return job in self._active

    def close(self, error: Callable[[], EngineError]) -> None:
        """Let nothing in any more, end what waits, want what is active stopped."""
        with self._changed:
            self.closed = True
            while self._asked:
                wanted = self._asked.popleft()
                if isinstance(wanted, Unload):
                    wanted.done.set_result(False)
                else:
                    wanted.mailbox.put(error())
            while self._waiting:
                self._waiting.popleft().end(error())
            for job in self._active:
                job.ask_stop(error())
            self._changed.notify_all()

    def _refuse_if_full(self, waiting: int) -> None:
        if waiting >= self._limit:
            raise self._faults.error(
                ErrorKind.OVERLOADED,
                f"{waiting} requests wait already, as many as may",
                "Ask again later, or raise the option 'queue'.",
            )

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise closed(self._faults)


def closed(faults: Faults) -> EngineError:
    """The engine was closed."""
    return faults.not_loaded("the engine is closed", "Open a new runtime.")
