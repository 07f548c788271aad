"""The synchronous facade: a runtime for programs without an event loop.

One background thread runs the event loop; every call waits for its result there. Invariant: it
adds nothing to what the asynchronous runtime does, and leaves no thread behind.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from vanta.events import Event, Reply
from vanta.messages import Message
from vanta.runtime.runtime import Opening, Runtime
from vanta.runtime.session import Session, TurnStream

if TYPE_CHECKING:
    from collections.abc import Mapping


class SyncTurn:
    """The events of a running turn: iterate it, then `reply` is there."""

    def __init__(self, turn: TurnStream, portal: BlockingPortal) -> None:
        self._turn = turn
        self._portal = portal

    @property
    def reply(self) -> Reply:
        """The reply. Raises RuntimeError before the turn has finished."""
        return self._turn.reply

    def __iter__(self) -> Iterator[Event]:
        while True:
            event = self._portal.call(self._next)
            if event is None:
                return
            yield event

    async def _next(self) -> Event | None:
        # StopAsyncIteration cannot travel through a future.
        return await anext(self._turn, None)


class SyncSession:
    """A session whose calls wait for their result; see `vanta.runtime.session.Session`."""

    def __init__(self, session: Session, portal: BlockingPortal) -> None:
        self._session = session
        self._portal = portal

    def ask(self, text: str, **options: Any) -> Reply:
        """Say `text` and wait for the whole reply; takes and raises what `Session.ask` does."""
        return self._portal.call(partial(self._session.ask, text, **options))

    @contextmanager
    def stream(self, text: str, **options: Any) -> Iterator[SyncTurn]:
        """Say `text` and watch the turn: `with session.stream(...) as turn`."""
        streaming = self._session.stream(text, **options)
        with ExitStack() as stack:
            # Left without the body's exception: Ctrl-C is for this thread, not for the loop's.
            turning = self._portal.wrap_async_context_manager(streaming)
            turn = turning.__enter__()
            stack.callback(turning.__exit__, None, None, None)
            yield SyncTurn(turn, self._portal)

    def history(self) -> list[Message]:
        """All messages of the conversation, oldest first."""
        return self._portal.call(self._session.history)

    def clear(self) -> int:
        """Forget the conversation; returns how many messages there were."""
        return self._portal.call(self._session.clear)


class SyncRuntime:
    """A runtime whose calls wait for their result. `runtime` is the asynchronous one, `portal` the
    way to call anything on its event loop; config, tracks, off, policies and plugins are its own.
    """

    def __init__(self, runtime: Runtime, portal: BlockingPortal) -> None:
        self.runtime = runtime
        self.portal = portal
        self.config = runtime.config
        self.tracks = runtime.tracks
        self.off = runtime.off
        self.policies = runtime.policies
        self.plugins = runtime.plugins

    def session(self, id: str, *, user: str = "default", private: bool = False) -> SyncSession:  # noqa: A002
        """The conversation `id` of `user`; see `Runtime.session`."""
        return SyncSession(self.runtime.session(id, user=user, private=private), self.portal)

    def warm_up(self, *tracks: str) -> None:
        """Load engines ahead of the first turn; see `Runtime.warm_up`."""
        self.portal.call(self.runtime.warm_up, *tracks)


class SyncOpening(AbstractContextManager[SyncRuntime]):
    """Opens a runtime on an event loop in a thread of its own."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._stack = ExitStack()

    def __enter__(self) -> SyncRuntime:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            runtime = stack.enter_context(portal.wrap_async_context_manager(self._opening))
            self._stack = stack.pop_all()
        return SyncRuntime(runtime, portal)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        # Not told of the body's exception: Ctrl-C is for this thread, not for the loop's.
        self._stack.close()
        return None


def ask(
    text: str,
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    session: str | None = None,
    user: str = "default",
    **overrides: Any,
) -> Reply:
    """One question, one reply, from a program without an event loop: `vanta.ask("...").text`.

    Opens a runtime, asks, and closes it; open one yourself for more than a few questions. session:
    go on with that conversation; None begins a new one. config and overrides as in `vanta.open`.
    """
    from vanta.runtime.runtime import open as open_runtime

    with open_runtime(config, **overrides) as runtime:
        return runtime.session(session or uuid.uuid4().hex, user=user).ask(text)
