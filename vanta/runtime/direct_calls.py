"""Tool calls of a program or another agent, outside of any turn, under the rules of turns.

Invariant: such a call goes through the same runner as those of models: its arguments are checked,
the permissions decide, a person is asked, and it stands in the journal. What would be asked is
denied if no one can be asked.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from vanta.context import estimate_text
from vanta.errors import UnknownName
from vanta.messages import ToolCall
from vanta.runtime.turns.agency import Agency
from vanta.runtime.turns.rounds import DeadlineClock
from vanta.tool_contract import ToolResult
from vanta.tools import ApprovalHandler, Caller, CallRunner, OfferedTool, ToolRules

MOST_TOKENS = 1_000_000
"""Tokens of a result that the caller gets: there is no window to protect."""

_CLOSING = "\n</result>"


class DirectCalls:
    """Runs calls one by one.

    :param agency: the tools of the runtime; None if it has none.
    """

    def __init__(self, agency: Agency | None) -> None:
        self._agency = agency

    async def offered(self) -> Sequence[OfferedTool]:
        """Return the tools as they are now, each with a name of its own."""
        return await self._agency.desk.registry.offered() if self._agency else []

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        user: str,
        session: str,
        private: bool,
        deadline_s: float,
        approve: ApprovalHandler | None,
        ask: bool,
    ) -> ToolResult:
        """Run one call. See `Runtime.call_tool`."""
        offered = await self.offered()
        found = [item for item in offered if name in (item.name, item.identity)]
        if not found or self._agency is None:
            raise UnknownName("tool", name, [item.identity for item in offered])
        agency, tool = self._agency, found[0]
        runner = CallRunner(
            desk=agency.desk,
            offered=[tool],
            caller=Caller(user, session, uuid.uuid4().hex),
            rules=ToolRules(
                permissions=agency.permissions,
                ask=(approve or agency.ask) if ask else None,
                max_calls=1,
                max_result_tokens=MOST_TOKENS,
                count=estimate_text,
            ),
            clock=DeadlineClock(anyio.current_time(), deadline_s),
            is_private=lambda: private,
            emit=lambda _event: None,
        )
        call = ToolCall("1", tool.name, json.dumps(dict(arguments)))
        async with runner.open():
            (message,) = await runner.run([call], 1, "", show_private=private)
        opening, _, text = message.content.partition("\n")
        is_error = runner.traces[-1].state != "finished" or "error" in opening
        return ToolResult(
            text.removesuffix(_CLOSING) if opening.startswith("<result") else message.content,
            is_error=is_error,
            source=tool.identity,
            private=runner.saw_private,
            images=message.images,
        )
