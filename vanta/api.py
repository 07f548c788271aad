"""The way in: `vanta.open` for programs, `vanta.ask` for one question.

Invariant: everything that entering opens, leaving closes, also after an error or a cancellation;
an exception of the body comes out as itself.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack, overload

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from vanta.companion import Companion
from vanta.concurrency import HomeProcess
from vanta.messages import MessageContent
from vanta.money import ApproveUnpriced
from vanta.runtime.background import ToolVectors, accompanied
from vanta.runtime.bootstrap import gather
from vanta.runtime.runtime import Runtime
from vanta.runtime.sync import Calls, SyncRuntime
from vanta.runtime.turns.agency import ProgramTools
from vanta.tool_contract import Toolset
from vanta.tools import ApprovalHandler
from vanta.trace import OutputT, Reply

Table = Mapping[str, Any]

_abandoned: list[AsyncExitStack | ExitStack] = []
"""What belongs to the parent of a forked process: closing it there would wait for good."""


class Overrides(TypedDict, total=False):
    """Configuration keys that `vanta.open` takes as keyword arguments; see `vanta.config.Config`.

    Tables are mappings: `vanta.open(tracks={"api": {"enabled": True}})`.
    """

    policy: str
    deadline_s: float
    stall_timeout_s: float
    retries: int
    breaker: Table
    privacy: Table
    companions: Sequence[str]
    system: str
    variables: Table
    data_dir: str | Path
    store_url: str | None
    telemetry: bool
    budget: Table
    memory: Table
    tools: Table
    mcp: Table
    tracks: Table
    policies: Table


class Opening:
    """The result of `vanta.open`.

    Enter it with `async with` for a `Runtime`, or with `with` for a `SyncRuntime` in a program
    without an event loop.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None,
        plugins: Iterable[object],
        overrides: Mapping[str, Any],
        approve_unpriced: ApproveUnpriced | None = None,
        own_tools: Iterable[Toolset | Callable[..., Any]] = (),
        approve: ApprovalHandler | None = None,
    ) -> None:
        self._gather = functools.partial(
            gather,
            config,
            tuple(plugins),
            dict(overrides),
            approve_unpriced,
            ProgramTools(tuple(own_tools), approve),
        )
        self._home = HomeProcess("the runtime")
        self._stack = AsyncExitStack()
        self._sync_stack = ExitStack()

    async def __aenter__(self) -> Runtime:
        async with AsyncExitStack() as stack:
            self._home = HomeProcess("the runtime")
            parts = await anyio.to_thread.run_sync(self._gather)
            stack.callback(parts.store.close)
            companions: list[Companion] = [
                parts.plugins.companions[name] for name in dict.fromkeys(parts.config.companions)
            ]
            if parts.tools:
                companions.append(ToolVectors(parts.tools.library))
            runtime = Runtime(parts, BlockingPortal())
            stack.push_async_callback(runtime.aclose)
            await stack.enter_async_context(runtime.portal)
            if parts.memory:
                await stack.enter_async_context(parts.memory.running())
            await stack.enter_async_context(runtime.turn_tasks.running())
            if companions:
                await stack.enter_async_context(accompanied(runtime, companions))
            self._stack = stack.pop_all()
        return runtime

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._home.left:
            _abandoned.append(self._stack)
            return None
        if error is None or isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._stack.__aexit__(kind, error, traceback)
        # The task groups would wrap the body's exception in a group if they received it.
        await self._stack.aclose()
        return None

    def __enter__(self) -> SyncRuntime:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            runtime = stack.enter_context(portal.wrap_async_context_manager(self))
            self._sync_stack = stack.pop_all()
        return SyncRuntime(runtime, Calls(portal, self._home))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._home.left:
            _abandoned.append(self._sync_stack)
            return
        # Closed without the body's exception: Ctrl-C is for this thread, not for the loop's.
        self._sync_stack.close()


def open(  # noqa: A001 - `vanta.open` is its name
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    plugins: Iterable[object] = (),
    approve_unpriced: ApproveUnpriced | None = None,
    own_tools: Iterable[Toolset | Callable[..., Any]] = (),
    approve: ApprovalHandler | None = None,
    **overrides: Unpack[Overrides],
) -> Opening:
    """Open a runtime: `async with vanta.open() as runtime`.

    Programs without an event loop use `with vanta.open() as runtime`. Entering raises the errors.

    :param config: a TOML file, the name of a ready configuration ("offline"), a mapping of the same
        shape, or None for the default with the user's own files.
    :param plugins: plugin objects to use beside the installed ones.
    :param approve_unpriced: called with the names of a track and its model if the price is unknown,
        a cap is set and `budget.unpriced` is "ask"; returns whether the track may answer. None
        refuses.
    :param own_tools: the program's own tools: functions (see `vanta.tool`) and toolsets. They are
        allowed unless a rule of `[tools]` says otherwise.
    :param approve: asks a person about a call; None denies what would be asked.
    :param overrides: configuration keys that take precedence over everything else:
        `vanta.open(policy="race", deadline_s=10)`.
    :returns: an object to enter with `async with` or `with`.
    :raises ConfigError: if the configuration does not fit the schema.
    :raises PluginError: if a plugin fails and `plugins.strict` is set, or two claim one name.
    :raises UnknownName: if the configuration names something that does not exist.
    :raises TemplateError: if the configured system prompt is broken.
    :raises StoreError: if the transcripts cannot be opened.
    """
    return Opening(config, plugins, overrides, approve_unpriced, own_tools, approve)


class AskChoice(Overrides, total=False):
    """The arguments of `vanta.ask` beside `output`, for type checkers."""

    config: str | Path | Mapping[str, Any] | None
    session: str | None
    user: str
    plugins: Iterable[object]
    own_tools: Iterable[Toolset | Callable[..., Any]]


@overload
def ask(text: MessageContent, **asking: Unpack[AskChoice]) -> Reply: ...


@overload
def ask(
    text: MessageContent, *, output: type[OutputT], **asking: Unpack[AskChoice]
) -> Reply[OutputT]: ...


@overload
def ask(text: MessageContent, *, output: Any, **asking: Unpack[AskChoice]) -> Reply: ...


def ask(
    text: MessageContent,
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    session: str | None = None,
    user: str = "default",
    plugins: Iterable[object] = (),
    own_tools: Iterable[Toolset | Callable[..., Any]] = (),
    output: Any = None,
    **overrides: Unpack[Overrides],
) -> Reply:
    """Ask one question from a program without an event loop: `vanta.ask("...").text`.

    Opens a runtime, asks, and closes it. Open one yourself for more than a few questions.

    :param text: the user's message: a text or parts, as for `Session.ask`.
    :param config: as for `vanta.open`.
    :param session: the conversation to continue; None starts a new one.
    :param user: the name of the user.
    :param plugins: as for `vanta.open`.
    :param own_tools: as for `vanta.open`.
    :param output: the type of the answer, as for `Session.ask`.
    :param overrides: as for `vanta.open`.
    :returns: the reply; its exchange is durable.
    :raises VantaError: what `vanta.open` and `Session.ask` raise.
    """
    with open(config, plugins=plugins, own_tools=own_tools, **overrides) as runtime:
        return runtime.session(session or uuid.uuid4().hex, user=user).ask(text, output=output)
