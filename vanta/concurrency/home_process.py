"""The process that opened something, and the error of using it in a forked child.

After a fork, the child has a copy of every object and none of the threads: a call that waits for
the event loop's thread would wait for good, and sockets and database files would be shared with the
parent. Invariant: the check costs one `os.getpid`, so every entry point can afford it.
"""

from __future__ import annotations

import os

from vanta.errors import UsageError


class HomeProcess:
    """The process in which this object was created.

    :param what: the thing that was opened, as a noun phrase: "the runtime".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()

    @property
    def left(self) -> bool:
        """True in a process that was forked from the one that opened it."""
        return os.getpid() != self._pid

    @property
    def problem(self) -> str:
        """Why the thing cannot be used in this process, and what to do; "" if it can."""
        if not self.left:
            return ""
        return (
            f"{self._what} was opened in process {self._pid} and cannot be used in process "
            f"{os.getpid()}, which was forked from it. Open it after the fork, once in each "
            "process: in gunicorn call vanta.open() in post_fork and do not preload it, in a web "
            "framework in its start-up hook, and with multiprocessing in the worker, or use the "
            "start method 'spawn'."
        )

    def require(self) -> None:
        """Check that this is the process that opened the thing.

        :raises UsageError: after a fork.
        """
        if self.left:
            raise UsageError(self.problem)
