"""Tools above their contract: which there are, who may call them, how often, and what is kept.

    registry = ToolRegistry({"weather": FunctionToolset("weather", [forecast])})
    for offered in await registry.offered():
        ...
    result = await registry.call(offered, read_arguments(text, offered.tool.parameters), context)

The contract itself (`vanta.Tool`, `vanta.Toolset`) is all that a plugin needs. Invariant: a toolset
only runs calls; every decision about a call is made and recorded in this room. Names are imported
when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.tools.arguments import (
        canonical,
        check_arguments,
        read_arguments,
        schema_mistakes,
        schema_problem,
    )
    from vanta.tools.call_state import RunnerState
    from vanta.tools.execution import CallRunner
    from vanta.tools.functions import FunctionToolset, tool
    from vanta.tools.journal.call_record import (
        CallOutcome,
        CallRecord,
        CallState,
        digest_of,
        tool_digest,
    )
    from vanta.tools.journal.journal import Journal
    from vanta.tools.journal.recorded import CallDesk
    from vanta.tools.opening import open_toolsets
    from vanta.tools.permissions.approvals import Approvals, StandingApproval
    from vanta.tools.permissions.call_patterns import CallPattern
    from vanta.tools.permissions.parked_turns import (
        ApprovalError,
        ApprovalPending,
        CallAnswer,
        ParkedCall,
        ParkedTurn,
        ParkedTurns,
    )
    from vanta.tools.permissions.permissions import Decision, Permissions, ToolOutlook
    from vanta.tools.permissions.questions import ApprovalMode, Questions
    from vanta.tools.registry import OfferedTool, ToolRegistry, tool_problem
    from vanta.tools.results import READ_RESULT, ResultPages, as_data, result_of, write_result
    from vanta.tools.turn_rules import (
        Approval,
        ApprovalHandler,
        ApprovalRequest,
        Caller,
        ToolRules,
    )

_NAMES = {
    ".permissions.approvals": "Approvals StandingApproval",
    ".arguments": "canonical check_arguments read_arguments schema_mistakes schema_problem",
    ".permissions.call_patterns": "CallPattern",
    ".journal.call_record": "CallOutcome CallRecord CallState digest_of tool_digest",
    ".execution": "CallRunner",
    ".functions": "FunctionToolset tool",
    ".journal.journal": "Journal",
    ".opening": "open_toolsets",
    ".call_state": "RunnerState",
    ".permissions.parked_turns": (
        "ApprovalError ApprovalPending CallAnswer ParkedCall ParkedTurn ParkedTurns"
    ),
    ".permissions.permissions": "Decision Permissions ToolOutlook",
    ".permissions.questions": "ApprovalMode Questions",
    ".journal.recorded": "CallDesk",
    ".registry": "OfferedTool ToolRegistry tool_problem",
    ".results": "READ_RESULT ResultPages as_data result_of write_result",
    ".turn_rules": "Approval ApprovalHandler ApprovalRequest Caller ToolRules",
}

__all__ = [
    "READ_RESULT",
    "Approval",
    "ApprovalError",
    "ApprovalHandler",
    "ApprovalMode",
    "ApprovalPending",
    "ApprovalRequest",
    "Approvals",
    "CallAnswer",
    "CallDesk",
    "CallOutcome",
    "CallPattern",
    "CallRecord",
    "CallRunner",
    "CallState",
    "Caller",
    "Decision",
    "FunctionToolset",
    "Journal",
    "OfferedTool",
    "ParkedCall",
    "ParkedTurn",
    "ParkedTurns",
    "Permissions",
    "Questions",
    "ResultPages",
    "RunnerState",
    "StandingApproval",
    "ToolOutlook",
    "ToolRegistry",
    "ToolRules",
    "as_data",
    "canonical",
    "check_arguments",
    "digest_of",
    "open_toolsets",
    "read_arguments",
    "result_of",
    "schema_mistakes",
    "schema_problem",
    "tool",
    "tool_digest",
    "tool_problem",
    "write_result",
]


__getattr__ = lazy_front(__name__, _NAMES)
