"""What clients may call: `ask`, the memory, and the user's tools.

Invariant: every call obeys the user's rules, as a model's call does. A client that is not declared
private is shown no private text: neither in answers, nor in memories, nor in results of tools.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta import Approval, ApprovalRequest, Runtime, ToolResult, TurnOptions, did_you_mean
from vanta.text import printable
from vanta_mcp.server.work import Ask, ServerQuestion

if TYPE_CHECKING:
    from vanta.tools import OfferedTool

ASK = "ask"
MEMORY = "memory"
"""The toolset whose tools are called `memory_search` and `memory_remember` here."""

_ASK_SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1, "description": "The message."},
        "session": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "description": "The conversation to continue; without it the question stands alone.",
        },
    },
    "required": ["text"],
    "additionalProperties": False,
}
_APPROVE = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Run this call"}},
    "required": ["approve"],
}


@dataclass(frozen=True, slots=True)
class ServedTool:
    """A tool as clients see it.

    :param name: its name.
    :param description: what it does.
    :param parameters: JSON Schema of its arguments.
    :param effect: what running it twice would do.
    :param identity: the name by which rules know it; "" for `ask`.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: str
    identity: str = ""


class ServerDesk:
    """Lists and runs what clients may call.

    :param runtime: the runtime.
    :param user: the user whose conversations and memory it uses.
    :param private: whether clients keep everything on this machine.
    :param model_tools: the toolsets that models may call while they answer.
    """

    def __init__(
        self, runtime: Runtime, user: str, *, private: bool, model_tools: Sequence[str]
    ) -> None:
        self._runtime = runtime
        self._user = user
        self._private = private
        self._model_tools = list(model_tools)
        self._askers: dict[str, Ask] = {}
        self._numbers = 0

    async def tools(self) -> list[ServedTool]:
        """Return the tools as they are now."""
        served = [_served(item) for item in await self._runtime.tools()]
        names = {item.name for item in served}
        description = "Ask the user's assistant, which knows their notes, and may use their tools."
        name = ASK if ASK not in names else "vanta_ask"
        return [ServedTool(name, description, _ASK_SCHEMA, "write"), *served]

    async def call(self, name: str, arguments: Mapping[str, Any], ask: Ask | None) -> ToolResult:
        """Run one call.

        :param name: the tool's name, as listed.
        :param arguments: its arguments.
        :param ask: puts a question to the person at the client; None if it cannot.
        """
        tools = {tool.name: tool for tool in await self.tools()}
        tool = tools.get(name)
        if tool is None:
            hint = did_you_mean(printable(name[:100]), tools)
            return ToolResult(f"no tool is named {printable(name[:100])!r}. {hint}", is_error=True)
        if not tool.identity:
            return await self._ask(arguments, ask)
        # One asks the client of this very call, never that of another.
        return await self._runtime.call_tool(
            tool.identity,
            arguments,
            user=self._user,
            private=self._private,
            approve=self._handler(ask) if ask else None,
            ask=ask is not None,
        )

    async def approve(self, request: ApprovalRequest) -> Approval | bool:
        """Ask the client whose `ask` a model's call belongs to. See `vanta.open(approve=...)`."""
        ask = self._askers.get(request.session)
        return await self._handler(ask)(request) if ask else False

    async def _ask(self, arguments: Mapping[str, Any], ask: Ask | None) -> ToolResult:
        text, session = arguments.get("text"), arguments.get("session")
        if not isinstance(text, str) or not text or not isinstance(session, str | None):
            return ToolResult("ask needs a text, and a session that is a text.", is_error=True)
        self._numbers += 1
        name = session or f"mcp-{id(self):x}-{self._numbers}"
        if name in self._askers:
            return ToolResult(f"the session {name!r} is answering already.", is_error=True)
        if ask:
            self._askers[name] = ask
        try:
            reply = await self._runtime.session(name, user=self._user).ask(
                text,
                options=TurnOptions(
                    private=self._private or None,
                    tools=self._model_tools,
                    approvals=None if ask else "deny",
                ),
            )
        finally:
            self._askers.pop(name, None)
        return ToolResult(reply.text)

    def _handler(self, ask: Ask) -> Callable[[ApprovalRequest], Awaitable[Approval | bool]]:
        async def approve(request: ApprovalRequest) -> Approval | bool:
            if request.question:
                return await _answered(request, ask)
            answer = await ask(ServerQuestion(_words(request), _APPROVE))
            return bool(answer) and answer is not None and answer.get("approve") is True

        return approve


async def _answered(request: ApprovalRequest, ask: Ask) -> Approval | bool:
    """Put a question that a model or a tool has to the person at the client."""
    field: dict[str, Any] = {"type": "string", "title": "Answer"}
    if request.choices:
        field["enum"] = list(request.choices)
    schema = {"type": "object", "properties": {"answer": field}, "required": ["answer"]}
    answer = await ask(ServerQuestion(printable(request.question), schema))
    text = answer.get("answer") if answer else None
    return Approval(approved=True, answer=text) if isinstance(text, str) and text else False


def _served(item: OfferedTool) -> ServedTool:
    tool = item.tool
    name = f"{MEMORY}_{tool.name}" if item.toolset == MEMORY else item.name
    return ServedTool(name, tool.description, tool.parameters, tool.effect, item.identity)


def _words(request: ApprovalRequest) -> str:
    """Return the question about a call, with all of its arguments."""
    arguments = json.dumps(dict(request.arguments), ensure_ascii=False, indent=2)
    name = f"{request.toolset}.{request.tool}"
    why = f"Asked because of {request.why}."
    return f"Run {name} ({request.effect})?\n{printable(arguments)}\n{why}"
