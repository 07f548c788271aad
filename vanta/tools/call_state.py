"""The state of the calls of one turn: a run of a tool, a call of a leg, and what is kept of them.

Invariant: equal calls of several legs share one `Execution`; its key is the call's key in the
journal, also after the turn was parked and resumed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from vanta.errors import StoreError
from vanta.events import CallRequested
from vanta.messages import ToolCall
from vanta.tool_contract import ToolResult
from vanta.tools.permissions.permissions import Decision
from vanta.tools.registry import OfferedTool
from vanta.trace import CallTrace


@dataclass(slots=True)
class Execution:
    """One run of a tool, which equal calls of several legs wait for."""

    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: str = "running"
    result: ToolResult = field(default_factory=lambda: ToolResult(""))
    error: StoreError | None = None
    took_s: float = 0.0
    cost_usd: float = 0.0
    is_counted: bool = False
    ended: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class ReadCall:
    """One call that a leg asks for, as far as it was read.

    :ivar place: round, digest and number among the leg's equal calls: what legs share.
    :ivar decision: what the rules say, once they were applied.
    :ivar wrong: why it cannot run, for the model to correct; "" if it can.
    :ivar shared: whether an equal call had begun before this one was committed.
    """

    call: ToolCall
    round: int
    offered: OfferedTool | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    place: tuple[int, str, int] = (0, "", 0)
    wrong: str = ""
    decision: Decision | None = None
    shared: bool = False
    may_run: bool = False
    execution: Execution = field(default_factory=Execution)

    @property
    def rule(self) -> str:
        """The rule that decided about the call, "" for none."""
        return self.decision.rule if self.decision else ""


def requested_event(call: ReadCall, track: str, at_s: float, *, private: bool) -> CallRequested:
    """Return the event that a leg asks for a call.

    :param call: the call.
    :param track: the leg's track.
    :param at_s: seconds since the turn began.
    :param private: whether the text of the call must not leave this machine.
    """
    return CallRequested(
        at_s=at_s,
        round=call.round,
        track=track,
        key=call.execution.key,
        call_id=call.call.id,
        tool=call.call.name,
        arguments=call.call.arguments,
        private=private,
    )


def trace_of(call: ReadCall) -> CallTrace:
    """Return the record of a call for the turn's trace.

    :param call: the call.
    """
    execution, offered = call.execution, call.offered
    return CallTrace(
        key=execution.key,
        round=call.round,
        toolset=offered.toolset if offered else "",
        tool=offered.tool.name if offered else call.call.name,
        effect=offered.tool.effect if offered else "",
        state=execution.state,
        rule=call.rule,
        took_s=execution.took_s,
        shared=call.shared,
        cost_usd=execution.cost_usd,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerState:
    """What the calls of a turn leave behind when it is parked; JSON-ready.

    :param keys: the keys of the calls of the round that waits.
    :param traces: the calls that have ended.
    :param wrong: how often each tool was called wrongly.
    :param pages: the whole text of long results, by id.
    :param after_untrusted: whether a result that others may have written was shown.
    :param saw_private: whether a private result was shown.
    :param found: the tools that the model found with `find_tools`, the latest first.
    """

    keys: tuple[str, ...] = ()
    traces: tuple[CallTrace, ...] = ()
    wrong: Mapping[str, int] = field(default_factory=dict)
    pages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    after_untrusted: bool = False
    saw_private: bool = False
    found: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunnerState:
        """Restore a state from its data.

        :param data: the fields as JSON has them.
        """
        traces = tuple(CallTrace(**trace) for trace in data["traces"])
        lists = {"keys": tuple(data["keys"]), "found": tuple(data.get("found", ()))}
        return cls(**{**data, **lists, "traces": traces})
