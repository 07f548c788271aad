"""The task group in which a runtime runs its turns.

A turn's tasks belong to the runtime and not to its caller, so no cancel scope stands around the
caller's code. Invariant: a caller may leave at any point and from any task (an asynchronous
generator is closed in another one); leaving stops the turn, waits for its end, and raises nothing
of its own. No turn outlives the runtime.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from vanta.concurrency import INTERRUPTS, HomeProcess, open_task_group
from vanta.errors import RunError
from vanta.trace import Reply

CLOSED = (
    "the turn was stopped because its runtime was closed. Keep the context of vanta.open() open "
    "until its turns are over."
)


class RunningTurn:
    """A turn in the runtime's task group.

    :param work: runs the turn.
    :param on_end: called once the turn is over, however it ended.
    """

    def __init__(
        self, work: Callable[[], Awaitable[Reply]], on_end: Callable[[], None] | None = None
    ) -> None:
        self._work = work
        self._on_end = on_end
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._reply: Reply | None = None
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Run the turn to its end and keep its reply or its error. The body of its task."""
        try:
            with self._scope:
                self._reply = await self._work()
        except (Exception, *INTERRUPTS) as error:  # noqa: BLE001 - raised in the caller's task
            self._error = error
        except BaseException:
            self._error = RunError(CLOSED)
            raise
        finally:
            self._done.set()
            if self._on_end:
                self._on_end()

    async def wait(self) -> Reply:
        """Wait for the end of the turn.

        :returns: its reply.
        :raises BaseException: what the turn raised.
        """
        if not self._done.is_set():
            await self._done.wait()
        self.raise_error()
        if self._reply is None:
            raise RunError("the turn was stopped by its caller, so it has no reply.")
        return self._reply

    def raise_error(self, *kinds: type[BaseException]) -> None:
        """Raise the turn's error if there is one, once.

        :param kinds: raise only errors of these types; none for all.
        """
        error = self._error
        if error is not None and isinstance(error, kinds or BaseException):
            self._error = None
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame

    async def stop(self) -> None:
        """Cancel the turn if it runs, and wait until all its legs have ended."""
        if self._done.is_set():
            return
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._done.wait()


class TurnTasks:
    """Runs the turns of one runtime.

    :param home: the process of the runtime.
    """

    def __init__(self, home: HomeProcess) -> None:
        self.home = home
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept turns; on exit stop those that run, and wait for their end."""
        async with open_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    def start(
        self, work: Callable[[], Awaitable[Reply]], on_end: Callable[[], None] | None = None
    ) -> RunningTurn:
        """Start a turn.

        :param work: runs the turn.
        :param on_end: called once the turn is over, however it ended.
        :raises RunError: if the runtime is closed.
        """
        if self._tasks is None:
            raise RunError("the runtime is closed. Open another one with vanta.open().")
        turn = RunningTurn(work, on_end)
        self._tasks.start_soon(turn.run, name="turn")
        return turn

    async def run(self, work: Callable[[], Awaitable[Reply]]) -> Reply:
        """Run a turn to its end. Cancelling the caller stops it.

        :param work: runs the turn.
        :returns: its reply.
        :raises BaseException: what the turn raises.
        """
        turn = self.start(work)
        try:
            return await turn.wait()
        finally:
            await turn.stop()
