"""A message request as Anthropic's clients write it, read into what a turn takes.

https://docs.claude.com/en/api/messages. Blocks become messages of a transcript: a result of a tool
is a message of its own, before the text that stands beside it. Invariant: what is read is complete
or an `ApiError` names the block to blame; nothing of a request is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from vanta import Sampling, Tool, TurnOptions
from vanta_server.errors import ApiError
from vanta_server.fields import RequestBody, RequestPart, client_tool

Block = Mapping[str, Any]

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THOUGHTS = ("thinking", "redacted_thinking")
"""Blocks of reasoning, which belong to the answer that had them: no model reads them again."""


class _MessageField(RequestPart):
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class _ClientToolField(RequestPart):
    type: str | None = None
    name: str = ""
    description: str | None = None
    input_schema: dict[str, Any] | None = None

    @property
    def is_custom(self) -> bool:
        """Whether the client runs it; others are tools of Anthropic's servers."""
        return self.type in (None, "custom")


class _ToolChoice(RequestPart):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _Thinking(RequestPart):
    type: str


class _Metadata(RequestPart):
    user_id: str | None = None


class _OutputFormat(RequestPart):
    type: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")


class _OutputConfig(RequestPart):
    format: _OutputFormat | None = None


class MessagesRequest(RequestBody):
    """The body of `POST /v1/messages` and of `POST /v1/messages/count_tokens`."""

    messages: list[_MessageField]
    system: str | list[dict[str, Any]] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    stream: bool | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    stop_sequences: list[str] | None = None
    tools: list[_ClientToolField] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _Thinking | None = None
    metadata: _Metadata | None = None
    output_config: _OutputConfig | None = None

    @property
    def ignored(self) -> list[str]:
        """The fields that have no effect here, tools of Anthropic's servers included."""
        names = [f"tools.{tool.type}" for tool in self.tools or () if not tool.is_custom]
        return sorted({*super().ignored, *names})

    @property
    def user(self) -> str | None:
        """The user that the request names."""
        return self.metadata.user_id if self.metadata else None

    @property
    def thinks(self) -> bool:
        """Whether the client wants to read the reasoning."""
        return self.thinking is not None and self.thinking.type != "disabled"

    def options(self, base: TurnOptions) -> TurnOptions:
        """Return how the turn is answered.

        :param base: what the model's name chooses.
        """
        form = self.output_config.format if self.output_config else None
        sampling = Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            stop=tuple(text for text in self.stop_sequences or () if text),
            json_schema=form.json_schema if form else None,
        )
        is_single = self.tool_choice is not None and self.tool_choice.disable_parallel_tool_use
        return self.options_of(base, sampling, parallel_tool_calls=False if is_single else None)

    @property
    def own_tools(self) -> list[Tool]:
        """The client's tools.

        :raises ApiError: if one of them cannot be offered to a model.
        """
        return [
            client_tool(tool.name, tool.description, tool.input_schema, f"tools.{place}")
            for place, tool in enumerate(self.tools or ())
            if tool.is_custom
        ]

    @property
    def choice(self) -> str | None:
        """How tools may be called, as a turn takes it."""
        if self.tool_choice is None:
            return None
        if self.tool_choice.type != "tool":
            return _CHOICES[self.tool_choice.type]
        if not self.tool_choice.name:
            raise ApiError(400, "'tool_choice.name' is missing", param="tool_choice.name")
        return self.tool_choice.name

    def transcript(self) -> list[dict[str, Any]]:
        """Return the messages as a turn takes them.

        :raises ApiError: if a block is of a type that is not supported; it names the block.
        """
        messages = []
        system = _joined(self.system, "system")
        if system:
            messages.append({"role": "system", "content": system})
        for place, message in enumerate(self.messages):
            where = f"messages.{place}.content"
            if message.role == "assistant":
                messages.extend(_answer(message.content, where))
            elif message.role == "user":
                messages.extend(_user(message.content, where))
            else:
                messages.append({"role": "system", "content": _joined(message.content, where)})
        return messages


def _user(content: str | Sequence[Block], where: str) -> Iterator[dict[str, Any]]:
    """Yield the results of tools, then the user's own message."""
    if isinstance(content, str):
        yield {"role": "user", "content": content}
        return
    parts: list[dict[str, Any]] = []
    for place, block in enumerate(content):
        at = f"{where}.{place}"
        if block.get("type") == "tool_result":
            yield {
                "role": "tool",
                "tool_call_id": _text_of(block, "tool_use_id", at),
                "content": _result(block, at),
            }
        else:
            parts.append(_part(block, at))
    if all(part["type"] == "text" for part in parts):
        text = "\n\n".join(part["text"] for part in parts)
        if text:
            yield {"role": "user", "content": text}
    else:
        yield {"role": "user", "content": parts}


def _answer(content: str | Sequence[Block], where: str) -> Iterator[dict[str, Any]]:
    """Yield an earlier answer of the assistant, without its reasoning."""
    blocks: Sequence[Block] = (
        [{"type": "text", "text": content}] if isinstance(content, str) else content
    )
    text, calls = "", []
    for place, block in enumerate(blocks):
        at, kind = f"{where}.{place}", block.get("type")
        if kind == "text":
            text += _text_of(block, "text", at)
        elif kind == "tool_use":
            arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
            function = {"name": _text_of(block, "name", at), "arguments": arguments}
            calls.append({"id": _text_of(block, "id", at), "function": function})
        elif kind not in _THOUGHTS:
            raise _unsupported(kind, at)
    if text or calls:
        yield {"role": "assistant", "content": text, "tool_calls": calls}


def _result(block: Block, where: str) -> str:
    """Return the text of a tool's result."""
    text = _joined(block.get("content"), f"{where}.content")
    return f"Error: {text}" if block.get("is_error") else text


def _joined(content: Any, where: str) -> str:
    """Return the text of what may be a text or blocks of it."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise ApiError(400, f"{where!r} is neither a text nor a list of blocks", param=where)
    parts = [_part(block, f"{where}.{place}") for place, block in enumerate(content)]
    for place, part in enumerate(parts):
        if part["type"] != "text":
            raise _unsupported("image", f"{where}.{place}")
    return "\n\n".join(part["text"] for part in parts)


def _part(block: Block, where: str) -> dict[str, Any]:
    """Return a block as a part of a message in OpenAI's protocol, which a turn takes."""
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": _text_of(block, "text", where)}
    source = block.get("source")
    form = source.get("type") if isinstance(source, dict) else None
    if kind == "document" and isinstance(source, dict) and form == "text":
        title = block.get("title") or "Document"
        return {"type": "text", "text": f"{title}:\n{_text_of(source, 'data', where)}"}
    if kind == "image" and isinstance(source, dict) and form == "base64":
        media_type = _text_of(source, "media_type", where)
        url = f"data:{media_type};base64,{_text_of(source, 'data', where)}"
        return {"type": "image_url", "image_url": {"url": url}}
    if kind in ("image", "document"):
        raise ApiError(
            400,
            f"{where!r}: the source {form!r} of a block of the type {kind!r} is not supported. "
            "Send the text, or the bytes of an image in base64.",
            param=where,
        )
    raise _unsupported(kind, where)


def _text_of(block: Mapping[str, Any], name: str, where: str) -> str:
    text = block.get(name)
    if not isinstance(text, str):
        raise ApiError(400, f"{f'{where}.{name}'!r} is not a text", param=f"{where}.{name}")
    return text


def _unsupported(kind: object, where: str) -> ApiError:
    problem = f"{where!r}: a block of the type {kind!r} is not supported here"
    return ApiError(400, problem, param=where)
