"""The toolsets of a runtime: which tools there are, under which names, and how a call runs.

Invariants: two tools that are offered never have one name, and a tool that breaks the contract is
left out with its reason. A call ends in time and in a `ToolResult`, whatever the tool does: raise,
hang, exit, return anything. Only the caller's own cancellation and Ctrl-C leave a call.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import anyio

from vanta.concurrency import open_task_group
from vanta.errors import ToolError, describe, did_you_mean
from vanta.text import as_data, printable, well_formed
from vanta.tool_contract import AskPerson, Effect, Tool, ToolContext, ToolResult, Toolset
from vanta.tools.arguments import check_arguments, schema_problem
from vanta.tools.results import READ_RESULT, result_of

CLOSE_TIMEOUT_S = 5.0
"""Seconds within which a toolset must close."""

MAX_TOOLS = 1000
"""Tools that one toolset may have."""

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED = frozenset({"find_tools", READ_RESULT})
"""Names of vanta's own tools: a tool of a toolset that has one is offered as `TOOLSET_TOOL`."""

TOOLSET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")

_MAX_TIMEOUT_S = 86_400.0
_MAX_DESCRIPTION = 20_000
_SHOWN_ERROR = 2000
_log = logging.getLogger("vanta.tools")


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as it is offered to models.

    :param toolset: name of its toolset.
    :param tool: the tool as its toolset described it at the beginning of the turn.
    :param name: the name that the model sees: the tool's own, or `TOOLSET_TOOL` if two share it.
    """

    toolset: str
    tool: Tool
    name: str

    @property
    def identity(self) -> str:
        """The name by which rules and the journal know it: `TOOLSET.TOOL`."""
        return f"{self.toolset}.{self.tool.name}"


class ToolRegistry:
    """The toolsets of a runtime. Its `off` says why a toolset or a tool (`TOOLSET.TOOL`) is not
    offered.

    :param toolsets: the toolsets by name.
    """

    def __init__(self, toolsets: Mapping[str, Toolset]) -> None:
        self._toolsets = dict(toolsets)
        self._offered: dict[str, OfferedTool] = {}
        self._checked: dict[tuple[str, str], tuple[Tool, Tool | str]] = {}
        self.off: dict[str, str] = {}

    @property
    def toolsets(self) -> Mapping[str, Toolset]:
        """The toolsets by name."""
        return self._toolsets

    async def offered(self) -> list[OfferedTool]:
        """Ask each toolset for its tools as they are now, all at once.

        :returns: the tools in the order of the toolsets, each with a name of its own.
        """
        lists: dict[str, list[Tool]] = {}
        off: dict[str, str] = {}
        async with open_task_group() as tasks:
            for name, toolset in self._toolsets.items():
                tasks.start_soon(self._list, name, toolset, lists, off)
        found = [(name, tool) for name in self._toolsets for tool in lists.get(name, ())]
        offered = _named(found)
        self._offered, self.off = {item.name: item for item in offered}, off
        return offered

    def find(self, name: str) -> OfferedTool | None:
        """Return the tool that models call by a name, as of the last `offered`.

        :param name: the name.
        """
        return self._offered.get(name)

    def unknown(self, name: str) -> ToolResult:
        """Return the result of a call to a tool that does not exist; it suggests the nearest one.

        :param name: the name that the model wrote.
        """
        shown = printable(name[:100])
        return ToolResult(
            f"no tool is named {shown!r}. {did_you_mean(shown, self._offered)}", is_error=True
        )

    async def call(
        self, offered: OfferedTool, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Run one call until its result, its time limit or the end of the turn.

        :param offered: the tool.
        :param arguments: its arguments; the tool gets a copy of them.
        :param context: who calls, and until when.
        :returns: the result; every failure is a result with `is_error` that says why.
        """
        toolset = self._toolsets.get(offered.toolset)
        if toolset is None:
            return ToolResult(f"there is no toolset {offered.toolset!r}", is_error=True)
        try:
            given = copy.deepcopy(dict(arguments))
            check_arguments(given, offered.tool.parameters)
        except ToolError as error:
            return _failed(str(error))
        except Exception as error:  # noqa: BLE001 - a caller's own objects, nested or odd
            return _failed(f"the arguments cannot be copied: {type(error).__name__}")
        seconds = min(offered.tool.timeout_s, context.ends_at - anyio.current_time())
        scope = anyio.CancelScope(deadline=anyio.current_time() + max(0.0, seconds))
        inside = dataclasses.replace(context, ask=_standing_still(context.ask, scope))
        outcome = await outcome_of(
            lambda: toolset.call(offered.tool.name, given, inside), max(0.0, seconds), scope
        )
        return _late(offered.tool, seconds) if outcome is None else _read(outcome, offered, context)

    async def aclose(self) -> None:
        """Close all toolsets at once. Idempotent; one that fails or hangs holds up no other."""
        toolsets, self._toolsets = self._toolsets, {}
        with anyio.CancelScope(shield=True):
            async with open_task_group() as tasks:
                for name, toolset in toolsets.items():
                    tasks.start_soon(_close, name, toolset)

    async def _list(
        self, name: str, toolset: Toolset, lists: dict[str, list[Tool]], off: dict[str, str]
    ) -> None:
        seconds = toolset.list_timeout_s
        outcome = await outcome_of(toolset.tools, seconds)
        if outcome is None:
            off[name] = f"it did not list its tools within {seconds:g} s"
        elif isinstance(outcome, ToolError):
            off[name] = str(outcome)
        elif isinstance(outcome, BaseException):
            off[name] = f"it failed to list its tools: {describe(outcome)}"
        else:
            try:
                lists[name] = self._usable(name, list(outcome.value), off)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's list
                off[name] = f"its list of tools cannot be read: {describe(error)}"

    def _usable(self, toolset: str, tools: Sequence[Any], off: dict[str, str]) -> list[Tool]:
        """Return the tools that keep the contract. Two with one name are both left out."""
        if len(tools) > MAX_TOOLS:
            off[toolset] = f"it has {len(tools)} tools, more than {MAX_TOOLS}"
            return []
        names = Counter(str(getattr(tool, "name", "")) for tool in tools)
        usable = []
        for tool in tools:
            name = printable(str(getattr(tool, "name", tool)))[:100]
            item = self._read_tool(toolset, tool)
            if names[name] > 1:
                item = f"the toolset has {names[name]} tools of this name"
            if isinstance(item, str):
                off[f"{toolset}.{name}"] = item
            else:
                usable.append(item)
        return usable

    def _read_tool(self, toolset: str, tool: Any) -> Tool | str:
        """Return a tool as it is offered, or why it is not; checked once for each description."""
        if not isinstance(tool, Tool):
            return f"it is not a vanta.Tool but {type(tool).__name__!r}"
        key = (toolset, str(tool.name))
        known = self._checked.get(key)
        if known is None or known[0] is not tool:
            if len(self._checked) > MAX_TOOLS * 10:
                self._checked.clear()
            known = self._checked[key] = (tool, tool_problem(tool) or _cleaned(tool))
        return known[1]


def tool_problem(tool: Tool) -> str | None:
    """Return how a tool breaks the contract, or None.

    :param tool: the tool.
    """
    return next((why for why in _broken_fields(tool)), None) or schema_problem(tool.parameters)


def _broken_fields(tool: Any) -> Iterator[str]:
    if not isinstance(tool.name, str) or not TOOL_NAME.fullmatch(tool.name):
        yield "its name must have 1 to 64 letters, digits, '_' and '-'"
    if not isinstance(tool.description, str) or len(tool.description) > _MAX_DESCRIPTION:
        yield f"its description must be a text of at most {_MAX_DESCRIPTION} characters"
    if tool.effect not in get_args(Effect):
        yield f"its effect is {tool.effect!r}; it must be one of {', '.join(get_args(Effect))}"
    if not isinstance(tool.private, bool) or not isinstance(tool.untrusted, bool):
        yield "its private and untrusted must be true or false"
    if not isinstance(tool.asks_person, bool):
        yield "its asks_person must be true or false"
    if not _is_number(tool.timeout_s) or not 0 < tool.timeout_s <= _MAX_TIMEOUT_S:
        yield f"its timeout_s must be above 0 and at most {_MAX_TIMEOUT_S:g}"
    limit = tool.max_result_tokens
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        yield "its max_result_tokens must be a whole number above 0, or None"
    if not _is_number(tool.price_usd) or tool.price_usd < 0:
        yield "its price_usd must be a number, at least 0"


def _cleaned(tool: Tool) -> Tool | str:
    """Return a tool whose descriptions forge nothing: they are a stranger's text, too."""
    parameters = _cleaned_schema(tool.parameters)
    text = json.dumps(parameters, ensure_ascii=False)
    if as_data(text) != text:
        return "its schema has markers of chat templates in names or values"
    description = as_data(well_formed(tool.description))
    if description == tool.description and parameters == tool.parameters:
        return tool
    return dataclasses.replace(tool, description=description, parameters=parameters)


def _cleaned_schema(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: as_data(well_formed(item))
            if key in {"description", "title", "$comment"} and isinstance(item, str)
            else _cleaned_schema(item)
            for key, item in value.items()
        }
    return [_cleaned_schema(item) for item in value] if isinstance(value, list | tuple) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _named(found: Sequence[tuple[str, Tool]]) -> list[OfferedTool]:
    """Give each tool a name of its own, which does not depend on the order of the toolsets."""
    owners = Counter(tool.name for _, tool in found) + Counter(dict.fromkeys(RESERVED, 1))
    taken = {tool.name for _, tool in found if owners[tool.name] == 1}
    joined = Counter(f"{toolset}_{tool.name}" for toolset, tool in found if owners[tool.name] > 1)
    offered = []
    for toolset, tool in found:
        name = tool.name
        if owners[name] > 1:
            name = f"{toolset}_{name}"
            if len(name) > 64 or name in taken or joined[name] > 1:
                digest = hashlib.sha256(f"{toolset}.{tool.name}".encode()).hexdigest()[:8]
                name = f"{name[:55]}_{digest}"
        offered.append(OfferedTool(toolset, tool, name))
    return offered


@dataclass(frozen=True, slots=True)
class Returned:
    """What a toolset's method returned."""

    value: Any


def _standing_still(ask: AskPerson | None, scope: anyio.CancelScope) -> AskPerson | None:
    """Return a function that asks a person, and gives the call the time that it took."""
    if ask is None:
        return None

    async def asking(question: str, choices: Sequence[str] = ()) -> str | None:
        began_at, deadline = anyio.current_time(), scope.deadline
        scope.deadline = math.inf
        try:
            return await ask(question, choices)
        finally:
            scope.deadline = deadline + anyio.current_time() - began_at

    return asking


async def _close(name: str, toolset: Toolset) -> None:
    outcome = await outcome_of(toolset.aclose, CLOSE_TIMEOUT_S)
    if outcome is None:
        _log.warning("toolset %r did not close within %g s", name, CLOSE_TIMEOUT_S)
    elif isinstance(outcome, BaseException):
        _log.warning("toolset %r failed to close: %s", name, describe(outcome))


async def outcome_of(
    start: Callable[[], Awaitable[Any]], seconds: float, scope: anyio.CancelScope | None = None
) -> Returned | BaseException | None:
    """Run a method of a toolset; return its value, its error, or None if its time was up.

    It runs in a task of its own: a tool that cancels itself ends that task and nothing else.
    """
    outcomes: list[Returned | BaseException] = []

    async def run() -> None:
        try:
            outcomes.append(Returned(await start()))
        except anyio.get_cancelled_exc_class():
            raise
        except KeyboardInterrupt:
            raise
        except BaseExceptionGroup as group:
            if group.subgroup((anyio.get_cancelled_exc_class(), KeyboardInterrupt)):
                raise
            outcomes.append(group)
        except BaseException as error:  # noqa: BLE001 - a tool may raise anything, also SystemExit
            outcomes.append(error)

    limit = scope or anyio.move_on_after(seconds)
    with limit:
        async with open_task_group() as tasks:
            tasks.start_soon(run)
    if outcomes:
        return outcomes[0]
    return (
        None if limit.cancelled_caught or seconds <= 0 else ToolError("the call cancelled itself")
    )


def _read(
    outcome: Returned | BaseException, offered: OfferedTool, context: ToolContext
) -> ToolResult:
    """Return the result of a call that has ended."""
    if isinstance(outcome, ToolError):
        return _failed(str(outcome))
    if isinstance(outcome, BaseException):
        # What a tool raises may quote its arguments, which a private turn keeps out of logs.
        reason = type(outcome).__name__ if context.private else describe(outcome)
        _log.warning("tool %r failed: %s", offered.identity, reason[:_SHOWN_ERROR])
        return _failed(f"the tool failed: {describe(outcome)}")
    try:
        return result_of(outcome.value)
    except ToolError as error:
        return _failed(f"the call ran, but its result cannot be used: {error}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - reading a value can do anything
        _log.warning("the result of tool %r cannot be read", offered.identity)
        return _failed(f"the call ran, but its result cannot be read: {type(error).__name__}")


def _late(tool: Tool, seconds: float) -> ToolResult:
    text = f"the call did not finish within {max(0.0, seconds):.3g} s and was stopped"
    return _failed(text if tool.effect == "read" else f"{text}; it may have had its effect")


def _failed(reason: str) -> ToolResult:
    text = reason if len(reason) <= _SHOWN_ERROR else f"{reason[:_SHOWN_ERROR]}..."
    return ToolResult(text, is_error=True)
