"""The worker's inbox: jobs, whose sessions take turns, and tasks, which come first.

Invariant: every accepted job is waiting, active or ended, and only the inbox moves it, under its
lock. After `close` nothing is accepted, and all that was waiting has ended with an error.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from vanta import EngineError, ErrorKind
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.worker.job import Job
from vanta_llamacpp.worker.mailbox import Mailbox

_MAX_SESSIONS = 1024
"""Sessions whose last turn is remembered."""


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Load the model. The mailbox receives None, or the error."""

    mailbox: Mailbox[EngineError | None]


@dataclass(slots=True, eq=False)
class EmbedTask:
    """Compute the vectors of tokenized texts. The mailbox receives them, or the error.

    :param texts: the tokens of each text; together they fit into one batch.
    :param cancelled: the vectors are no longer needed.
    """

    texts: Sequence[Sequence[int]]
    mailbox: Mailbox[EngineError | list[list[float]]]
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class UnloadTask:
    """Free the model's memory for another engine. `done` receives whether it was freed."""

    done: Future[bool]


@dataclass(frozen=True, slots=True)
class ForgetTask:
    """Empty the KV cache. The mailbox receives None, or the error."""

    mailbox: Mailbox[EngineError | None]


Task = LoadTask | EmbedTask | UnloadTask | ForgetTask


class Inbox:
    """A bounded queue of jobs and tasks. All methods are safe in any thread.

    :param limit: the maximum number of waiting jobs, and of waiting EmbedTasks.
    :param faults: makes the errors.
    """

    def __init__(self, limit: int, faults: Faults) -> None:
        self._limit = limit
        self._faults = faults
        self._tasks: deque[Task] = deque()
        self._waiting: deque[Job] = deque()
        self._active: set[Job] = set()
        self._served: dict[str, int] = {}
        self._turns = itertools.count()
        self._changed = threading.Condition()
        self._embedded_last = False
        self.closed = False

    def __len__(self) -> int:
        """Return the number of waiting jobs."""
        return len(self._waiting)

    def submit(self, task: Task) -> None:
        """Queue a task. Raises EngineError once closed, or if too many EmbedTasks are waiting."""
        with self._changed:
            self._require_open()
            if isinstance(task, EmbedTask):
                self._require_room(sum(isinstance(other, EmbedTask) for other in self._tasks))
            self._tasks.append(task)
            self._changed.notify()

    def put(self, job: Job) -> None:
        """Queue a job. Raises EngineError once closed, or if the queue is full."""
        with self._changed:
            self._require_open()
            self._require_room(len(self._waiting))
            self._waiting.append(job)
            self._changed.notify()

    def take(self, *, accept_job: bool, wait: bool) -> Task | Job | None:
        """Remove and return the next task or job. After an EmbedTask a job comes first.

        :param accept_job: whether the worker can serve another job.
        :param wait: block until there is something, or the inbox is closed.
        :returns: None if there is nothing, or the inbox is closed.
        """
        with self._changed:
            while wait and not (self._tasks or (accept_job and self._waiting) or self.closed):
                self._changed.wait()
            if self.closed:
                return None
            job_ready = accept_job and bool(self._waiting)
            if self._tasks and not (self._embedded_last and job_ready):
                task = self._tasks.popleft()
                self._embedded_last = isinstance(task, EmbedTask)
                return task
            self._embedded_last = False
            return self._next_job() if job_ready else None

    def _next_job(self) -> Job:
        """Return the oldest job of the session that was served longest ago."""
        job = min(self._waiting, key=lambda job: self._served.get(job.owner.key, -1))
        self._waiting.remove(job)
        self._active.add(job)
        self._served.pop(job.owner.key, None)
        self._served[job.owner.key] = next(self._turns)
        if len(self._served) > _MAX_SESSIONS:
            del self._served[next(iter(self._served))]
        return job

    def complete(self, job: Job) -> None:
        """Record that the worker has finished with `job`."""
        with self._changed:
            self._active.discard(job)

    def stop(self, job: Job) -> bool:
        """Stop a job. Returns whether the worker is serving it and must be interrupted."""
        job.request_stop()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.end()
            return job in self._active

    def close(self) -> None:
        """Accept nothing more, end all that is waiting, and request active jobs to stop."""
        with self._changed:
            self.closed = True
            while self._tasks:
                task = self._tasks.popleft()
                if isinstance(task, UnloadTask):
                    task.done.set_result(False)
                else:
                    task.mailbox.put(self._faults.closed())
            while self._waiting:
                self._waiting.popleft().end(self._faults.closed())
            for job in self._active:
                job.request_stop(self._faults.closed())
            self._changed.notify_all()

    def _require_room(self, waiting: int) -> None:
        if waiting >= self._limit:
            raise self._faults.error(
                ErrorKind.OVERLOADED,
                f"the queue is full: {waiting} requests are waiting",
                "Retry later, or raise the option 'queue'.",
            )

    def _require_open(self) -> None:
        if self.closed:
            raise self._faults.closed()
