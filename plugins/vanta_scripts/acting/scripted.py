"""What a script plans: the results of its own tools, and the answers to questions about calls.

Invariant: an answer is used once, for the first question that it fits; a question without an answer
is denied, and a call without a result fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vanta import (
    Approval,
    ApprovalRequest,
    Tool,
    ToolContext,
    ToolError,
    ToolResult,
    Toolset,
)
from vanta_scripts.acting.pages import filled
from vanta_scripts.script import PlannedApproval, ScriptedTool

FIXTURE = "fixture"
"""The toolset of the scripted tools."""

NO_ANSWER = "The script has no answer to this question: add one under 'approvals'."


class ScriptedPerson:
    """Answers as a script plans."""

    def __init__(self) -> None:
        self._left: list[PlannedApproval] = []
        self._planned: dict[int, PlannedApproval] = {}
        self._used: set[int] = set()

    def prepare(self, approvals: Sequence[PlannedApproval]) -> None:
        """Set the answers of the next turn; those that are left of the last one are dropped."""
        self._left = list(approvals)
        self._planned.update((id(planned), planned) for planned in approvals)

    def unused(self) -> list[PlannedApproval]:
        """Return the answers that were ready in some turn and that no question used in any."""
        return [item for key, item in self._planned.items() if key not in self._used]

    async def __call__(self, request: ApprovalRequest) -> Approval:
        """Return the answer to a question."""
        names = (None, request.tool, f"{request.toolset}.{request.tool}")
        for position, planned in enumerate(self._left):
            if planned.call in names:
                del self._left[position]
                self._used.add(id(planned))
                approved = planned.answer == "approve"
                return Approval(approved=approved, scope=planned.scope, reason=planned.reason)
        return Approval(approved=False, reason=NO_ANSWER)


class ScriptedToolset(Toolset):
    """Tools that return what a script says.

    :param scripted: the tools.
    :param address: the address of the pages, for their results; "" for none.
    :param used: receives the tool and the position of each result that a call gets.
    """

    name = FIXTURE

    def __init__(
        self, scripted: Sequence[ScriptedTool], address: str, used: set[tuple[str, int]]
    ) -> None:
        self._scripted = {item.tool.name: item for item in scripted}
        self._address = address
        self._used: dict[tuple[str, int], int] = {}
        self._used_in_run = used

    async def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        return [item.tool for item in self._scripted.values()]

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Return the next result that fits the arguments.

        :raises ToolError: if none fits.
        """
        results = self._scripted[name].results
        fitting = [
            number
            for number, result in enumerate(results)
            if all(
                key in arguments and arguments[key] == value for key, value in result.when.items()
            )
        ]
        if not fitting:
            raise ToolError(f"the script has no result of {name!r} for these arguments")
        used = [self._used.get((name, number), 0) for number in fitting]
        fresh = [number for number, times in zip(fitting, used, strict=True) if not times]
        chosen = fresh[0] if fresh else fitting[-1]
        self._used[name, chosen] = self._used.get((name, chosen), 0) + 1
        self._used_in_run.add((name, chosen))
        result = results[chosen]
        text = filled(result.text, self._address) if self._address else result.text
        return ToolResult(text, is_error=result.error, private=result.private)
