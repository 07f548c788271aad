"""Tools of a caller, which runs their calls itself.

A round in which such a tool is called ends the turn: the reply has the calls. Calls of vanta's
tools in the same answer are run, and their results are part of the reply, so that the caller adds
its own results and continues from there. Invariant: a call is either run here or returned, never
both, and a call of a tool that does not exist is neither: the model reads that it does not.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vanta.engine import Tool
from vanta.errors import UnknownName, UsageError, did_you_mean
from vanta.messages import Message, ToolCall
from vanta.text import printable
from vanta.tools import tool_problem
from vanta.tools.registry import RESERVED

ANY_CHOICE = ("auto", "none", "required")


@dataclass(frozen=True, slots=True)
class CallerTools:
    """The tools of a caller, and what an answer's calls mean.

    :param tools: the tools.
    """

    tools: tuple[Tool, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Their names."""
        return frozenset(tool.name for tool in self.tools)

    def split(self, calls: Sequence[ToolCall], *, others_run: bool, cut: bool) -> SplitCalls:
        """Divide the calls of an answer by the side that runs them.

        :param calls: the calls.
        :param others_run: whether the turn has tools that vanta runs: calls of all names that are
            not the caller's go to them.
        :param cut: whether the answer ended at its token limit: its last call may be half then,
            and is not returned unless its arguments are whole.
        """
        names = self.names
        if cut and calls and calls[-1].name in names and not _is_json(calls[-1].arguments):
            calls = calls[:-1]
        returned = tuple(call for call in calls if call.name in names)
        others = tuple(call for call in calls if call.name not in names)
        run, unknown = (others, ()) if others_run else ((), others)
        return SplitCalls(tuple(calls), returned, run, unknown, names)


@dataclass(frozen=True, slots=True)
class SplitCalls:
    """The calls of one answer.

    :param all: all of them, in their order.
    :param returned: those that the caller runs.
    :param run: those that vanta runs.
    :param unknown: those of tools that do not exist.
    :param names: the names of the caller's tools.
    """

    all: tuple[ToolCall, ...] = ()
    returned: tuple[ToolCall, ...] = ()
    run: tuple[ToolCall, ...] = ()
    unknown: tuple[ToolCall, ...] = ()
    names: frozenset[str] = frozenset()

    def only_returned(self) -> SplitCalls:
        """Return the calls without those that the caller does not run."""
        return SplitCalls(self.returned, self.returned, names=self.names)

    def in_order(self, results: Iterable[Message]) -> list[Message]:
        """Return the results of the calls that are not returned, in the order of the calls.

        :param results: the results of `run`.
        """
        by_id = {message.tool_call_id: message for message in results}
        for call in self.unknown:
            shown = printable(call.name[:100])
            text = f"no tool is named {shown!r}. {did_you_mean(shown, self.names)}"
            by_id[call.id] = Message("tool", text, tool_call_id=call.id)
        return [by_id[call.id] for call in self.all if call.id in by_id]


NO_CALLS = SplitCalls()
NO_CALLER_TOOLS = CallerTools()


def with_ids(calls: Sequence[ToolCall], used: set[str], number: int) -> tuple[ToolCall, ...]:
    """Return calls with ids that nothing else has, for engines that give none.

    :param calls: the calls of one answer.
    :param used: the ids of earlier calls; those of these calls are added.
    :param number: the number of the round.
    """
    named = []
    for place, call in enumerate(calls):
        own = call.id
        if not own or own in used:
            own = f"call_{number}_{place}"
        if own in used:
            own = f"call_{uuid.uuid4().hex[:16]}"
        used.add(own)
        named.append(call if own == call.id else replace(call, id=own))
    return tuple(named)


def ids_of(messages: Iterable[Message]) -> frozenset[str]:
    """Return the ids of the calls in a transcript.

    :param messages: the transcript.
    """
    return frozenset(call.id for message in messages for call in message.tool_calls)


def read_tools(given: Iterable[Tool | str] | None) -> tuple[CallerTools, list[str] | None]:
    """Divide the tools that a caller names into its own and vanta's.

    :param given: tools of the caller, and names of toolsets or tools of vanta; None for neither.
    :returns: the caller's tools, and the names; None if `given` is.
    :raises UsageError: if a tool breaks the contract, or two have one name.
    """
    if isinstance(given, str):
        raise UsageError(f"tools: pass a list, such as [{given!r}].")
    own: dict[str, Tool] = {}
    names: list[str] = []
    for place, item in enumerate(given or ()):
        if isinstance(item, str):
            names.append(item)
            continue
        if not isinstance(item, Tool):
            raise UsageError(
                f"tools[{place}]: {type(item).__name__!r} is neither a vanta.Tool nor the name of "
                "a toolset. Pass functions to vanta.open(own_tools=...), and name them here."
            )
        if problem := tool_problem(item):
            name = str(item.name)[:80]
            raise UsageError(f"tools[{place}]: the tool {name!r} cannot be offered: {problem}.")
        if item.name in own:
            raise UsageError(f"tools[{place}]: two tools are named {item.name!r}. Rename one.")
        own[item.name] = item
    if names and (reserved := sorted(own.keys() & RESERVED)):
        raise UsageError(f"tools: {reserved[0]!r} is a name of vanta's own tools. Rename yours.")
    return CallerTools(tuple(own.values())), None if given is None else names


def require_choice(choice: str, own: CallerTools) -> None:
    """Check the choice of a turn that has none of vanta's tools.

    :param choice: `auto`, `none`, `required` or the name of a tool.
    :param own: the caller's tools.
    :raises UnknownName: if it is not the name of one of them.
    :raises UsageError: if a call is required and there is no tool.
    """
    if choice not in ANY_CHOICE and choice not in own.names:
        raise UnknownName("tool", choice, own.names)
    if choice == "required" and not own.tools:
        raise UsageError("tool_choice is 'required', and the turn has no tools. Pass tools=[...].")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
