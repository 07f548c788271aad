"""How the facade waits: each call runs on the event loop's thread, and its caller waits for it.

Invariant: an interrupt of the waiting thread cancels the call, and a forked process never waits for
the loop of its parent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal

from vanta.concurrency import HomeProcess

T = TypeVar("T")


class Calls:
    """Calls of the facade on the event loop's thread.

    :param portal: the portal of that thread.
    :param home: the process that opened the runtime.
    """

    def __init__(self, portal: BlockingPortal, home: HomeProcess) -> None:
        self._portal = portal
        self._home = home

    @property
    def portal(self) -> BlockingPortal:
        """The portal.

        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        self._home.require()
        return self._portal

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an asynchronous function on the loop and wait for its result.

        Ctrl-C cancels the call.

        :param function: the function.
        :param args: its arguments.
        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        future = self.portal.start_task_soon(function, *args)
        try:
            return future.result()
        finally:
            future.cancel()

    def leave(self, context: AbstractAsyncContextManager[Any]) -> None:
        """Leave an asynchronous context; it is left alone in a forked process.

        :param context: a context that was entered by `call`.
        """
        if not self._home.left:
            self.call(context.__aexit__, None, None, None)
