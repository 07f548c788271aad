"""Requests as Ollama's clients write them, read into what a turn takes.

https://github.com/ollama/ollama/blob/main/docs/api.md. Its calls have no ids: a result belongs to
the first call of its tool that has none yet. Invariant: what is read is complete or an `ApiError`
names what to change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from vanta import Sampling, Tool, TurnOptions
from vanta_server.errors import ApiError
from vanta_server.fields import RequestBody, RequestPart, ToolField, function_tools

_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
)
_OPTIONS = {*_SAMPLING, "seed", "stop", "num_predict"}
"""The options that have an effect here; the others are about loading a model."""

_IMAGES = (("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("R0lG", "image/gif"))
"""How the base64 of images begins; anything else counts as WebP."""


class _CalledFunction(RequestPart):
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class _CalledTool(RequestPart):
    id: str | None = None
    function: _CalledFunction


class _ChatMessage(RequestPart):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = ""
    images: list[str] | None = None
    tool_calls: list[_CalledTool] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaRequest(RequestBody):
    """What the bodies of `/api/chat` and `/api/generate` have in common."""

    model: str = Field(min_length=1)
    stream: bool | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    think: bool | str | None = None

    @property
    def ignored(self) -> list[str]:
        """The fields that have no effect here, options included."""
        names = [f"options.{name}" for name in self.options or () if name not in _OPTIONS]
        return sorted({*super().ignored, *names})

    @property
    def streams(self) -> bool:
        """Whether the answer is sent in lines, which it is unless the client declines."""
        return self.stream is not False

    @property
    def thinks(self) -> bool:
        """Whether the client wants to read the reasoning; without a word about it, it does."""
        return self.think is not False

    @property
    def unloads(self) -> bool:
        """Whether the model is to be unloaded afterwards."""
        return self.keep_alive is not None and str(self.keep_alive) in ("0", "0.0", "0s", "0m")

    def turn_options(self, base: TurnOptions) -> TurnOptions:
        """Return how the turn is answered.

        :param base: what the model's name chooses.
        """
        given = self.options or {}
        stop = given.get("stop") or ()
        limit = given.get("num_predict")
        plain: dict[str, Any] = {name: given.get(name) for name in _SAMPLING}
        sampling = Sampling(
            **plain,
            seed=given.get("seed"),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=limit if not isinstance(limit, int) or limit > 0 else None,
            json_schema=self._schema(),
        )
        return self.options_of(base, sampling)

    def _schema(self) -> Mapping[str, Any] | None:
        if isinstance(self.format, dict):
            return self.format
        return {"type": "object"} if self.format == "json" else None


class ChatBody(OllamaRequest):
    """The body of `POST /api/chat`."""

    messages: list[_ChatMessage] = Field(default_factory=list)
    tools: list[ToolField] | None = None

    @property
    def is_load(self) -> bool:
        """Whether the model is only to be loaded or unloaded."""
        return not self.messages

    @property
    def offered(self) -> list[Tool | str]:
        """The client's tools and the names of the runtime's."""
        return [*self.vanta.tools, *function_tools(self.tools)]

    def transcript(self) -> list[dict[str, Any]]:
        """Return the messages as a turn takes them."""
        numbering = _Numbering()
        return [numbering.message(message) for message in self.messages]


class GenerateBody(OllamaRequest):
    """The body of `POST /api/generate`."""

    prompt: str | None = ""
    system: str | None = None
    images: list[str] | None = None
    raw: bool | None = None
    suffix: str | None = None

    @property
    def is_load(self) -> bool:
        """Whether the model is only to be loaded or unloaded."""
        return not self.prompt

    @property
    def offered(self) -> list[Tool | str]:
        """The names of the runtime's tools."""
        return list(self.vanta.tools)

    def transcript(self) -> list[dict[str, Any]]:
        """Return the prompt as a user's message.

        :raises ApiError: if the prompt is for the model without its chat template.
        """
        if self.raw:
            raise ApiError(400, "'raw' is not supported: use /api/chat with messages", param="raw")
        if self.suffix:
            problem = "'suffix' is not supported: no track inserts text before another one"
            raise ApiError(400, problem, param="suffix")
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": _content(self.prompt, self.images)}]


class EmbedBody(RequestBody):
    """The body of `POST /api/embed`."""

    model: str = Field(min_length=1)
    input: str | list[str] = Field(default_factory=list)
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else self.input


class EmbeddingsBody(RequestBody):
    """The body of `POST /api/embeddings`, the older form."""

    model: str = Field(min_length=1)
    prompt: str = ""


class ShowBody(RequestBody):
    """The body of `POST /api/show`; older clients name the model in `name`."""

    name: str = ""


class _Numbering:
    """Reads messages in order, and gives their calls ids."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def message(self, message: _ChatMessage) -> dict[str, Any]:
        """Return the next message."""
        data: dict[str, Any] = {
            "role": message.role,
            "content": _content(message.content, message.images),
        }
        if message.tool_calls:
            data["tool_calls"] = [self._call(call) for call in message.tool_calls]
        if message.role == "tool":
            data["tool_call_id"] = self._answered(message)
        return data

    def _call(self, call: _CalledTool) -> dict[str, Any]:
        self._count += 1
        call_id = call.id or f"call_{self._count}"
        self._open.append((call_id, call.function.name))
        arguments = json.dumps(call.function.arguments, ensure_ascii=False)
        return {"id": call_id, "function": {"name": call.function.name, "arguments": arguments}}

    def _answered(self, message: _ChatMessage) -> str:
        """Return the id of the call that a result belongs to."""
        for place, (call_id, name) in enumerate(self._open):
            matches_id = message.tool_call_id in (None, "", call_id)
            if matches_id and message.tool_name in (None, "", name):
                del self._open[place]
                return call_id
        return message.tool_call_id or message.tool_name or "unknown"


def _content(text: str | None, images: Sequence[str] | None) -> str | list[dict[str, Any]]:
    """Return the content of a message as a turn takes it."""
    if not images:
        return text or ""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for image in images:
        kinds = (kind for begin, kind in _IMAGES if image.startswith(begin))
        url = f"data:{next(kinds, 'image/webp')};base64,{image}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts
