"""A session as text: JSON Lines to process, Markdown to read.

Invariant: an export has every branch and names the one in use; a message is written once, on the
branch that it is stored on. Without `calls`, it has neither calls nor results of tools.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from vanta.errors import UnknownName
from vanta.messages import Exchange, Message, content_data
from vanta.storage import Branch, SessionInfo, Store
from vanta.tools import Journal

ExportFormat = Literal["jsonl", "markdown"]
_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Tool", "system": "System"}


class SessionExport:
    """Writes one session.

    :param store: where it is kept.
    :param info: its title, times and costs.
    :param calls: include tool calls, their results, and the journal's records of them.
    :param traces: include the record of every turn.
    """

    def __init__(self, store: Store, info: SessionInfo, *, calls: bool, traces: bool) -> None:
        self._store = store
        self._info = info
        self._calls = calls
        self._traces = traces

    async def text(self, form: str) -> str:
        """Return the session.

        :param form: `jsonl` or `markdown`.
        :raises UnknownName: for another form.
        :raises StoreError: if the store cannot be read.
        """
        if form not in get_args(ExportFormat):
            raise UnknownName("format of an export", form, get_args(ExportFormat))
        user, session = self._info.user, self._info.id
        branches = await self._store.branches(user, session)
        own: dict[str, list[Exchange]] = {}
        for branch in branches:
            history = (await self._store.branch_history(user, session, branch.name))[1]
            own[branch.name] = history[len(history) - branch.own_turns :]
        journal = Journal(self._store)
        calls = await journal.list(user=user, session=session) if self._calls else ()
        records = await self._store.records(user=user, session=session) if self._traces else ()
        called = [record.to_dict() for record in calls]
        if form == "markdown":
            return "\n".join([*self._markdown(branches, own, called, records), ""])
        lines = self._objects(branches, own, called, records)
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)

    def _objects(
        self,
        branches: list[Branch],
        own: Mapping[str, list[Exchange]],
        calls: list[dict[str, Any]],
        records: Any,
    ) -> Iterator[dict[str, Any]]:
        info = self._info.to_dict()
        info.pop("match")
        yield {"type": "session", **info}
        for branch in branches:
            fields = ("name", "kind", "parent", "after", "replaces", "active", "replaced")
            yield {"type": "branch", **{name: getattr(branch, name) for name in fields}}
            for exchange in own[branch.name]:
                for message in self._messages(exchange):
                    yield _message_object(message, exchange, branch)
        yield from ({"type": "call", **call} for call in calls)
        yield from ({"type": "turn", **record} for record in records)

    def _messages(self, exchange: Exchange) -> list[Message]:
        if self._calls:
            return list(exchange.messages)
        return [
            dataclasses.replace(message, tool_calls=())
            for message in exchange.messages
            if message.role != "tool" and (message.content or message.images)
        ]

    def _markdown(
        self,
        branches: list[Branch],
        own: Mapping[str, list[Exchange]],
        calls: list[dict[str, Any]],
        records: Any,
    ) -> Iterator[str]:
        info = self._info
        yield f"# {_one_line(info.title or info.id)}"
        yield ""
        when = f", {_date(info.started_at)} to {_date(info.last_at)}" if info.started_at else ""
        secret = ", private" if info.private else ""
        yield f"Session `{info.id}` of `{info.user}`{when}{secret}, {info.turns} turns."
        for branch in branches:
            if len(branches) > 1:
                yield from ("", f"## {_heading(branch)}")
            for exchange in own[branch.name]:
                for message in self._messages(exchange):
                    yield from _markdown_of(message, exchange)
        if calls:
            yield from ("", "## Tool calls", "")
            for call in calls:
                name = f"{call['toolset']}.{call['tool']}"
                yield f"- `{name}`: {call['state']} (turn `{call['turn']}`)"
        if records:
            yield from ("", "## Records of turns", "")
            for record in records:
                yield from (f"Turn `{record['id']}`:", "")
                yield from _fenced(json.dumps(record, ensure_ascii=False, indent=2), "json")


def _message_object(message: Message, exchange: Exchange, branch: Branch) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": "message",
        "turn": exchange.turn,
        "branch": branch.name,
        "private": exchange.private,
        "role": message.role,
        "content": content_data(message),
    }
    if message.tool_calls:
        data["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    return data


def _heading(branch: Branch) -> str:
    what = {
        "main": "The main branch",
        "branch": f"Branch {branch.name!r} after turn {branch.after!r}",
        "edit": f"Branch {branch.name!r}: turn {branch.replaces!r} with another message",
        "regenerate": f"Branch {branch.name!r}: turn {branch.replaces!r} answered again",
    }[branch.kind]
    return f"{what}{' (in use)' if branch.active else ''}"


def _markdown_of(message: Message, exchange: Exchange) -> Iterator[str]:
    secret = " (private)" if exchange.private else ""
    yield from ("", f"**{_SPEAKERS[message.role]}**{secret}:", "")
    message = message.without_images()
    if message.role == "tool":
        yield from _fenced(message.content)
    elif message.content:
        yield from (f"> {line}".rstrip() for line in message.content.splitlines())
    for call in message.tool_calls:
        yield f"Calls `{call.name}`:"
        yield ""
        yield from _fenced(call.arguments, "json")


def _fenced(text: str, language: str = "") -> Iterator[str]:
    """Yield a block of code, whose fence no line of the text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    yield from (f"{fence}{language}", *text.splitlines(), fence, "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _date(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
