"""A chat completion as a client asks for it, read into what a turn takes.

https://platform.openai.com/docs/api-reference/chat/create. Reading is tolerant: fields that this
server does not know are ignored and named in the answer's `vanta.ignored`, so that no client breaks
on one that is new. Invariant: what is read is complete or an `ApiError` names the field to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vanta import Sampling, Tool, TurnOptions
from vanta_server.errors import ApiError

MOST_ANSWERS = 16
"""The largest `n`."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _StreamOptions(_Part):
    include_usage: bool = False


class _Function(_Part):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _ToolField(_Part):
    type: str = "function"
    function: _Function | None = None


class _Choice(_Part):
    function: _Function | None = None


class _Format(_Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class Extension(_Part):
    """vanta's own field in a request.

    :param policy: the name of a policy; it takes precedence over the model's name.
    :param track: the name of a track that answers alone.
    :param private: whether the turn is confined to private tracks.
    :param deadline_s: seconds that the turn may take.
    :param tools: names of toolsets or tools of the runtime, whose calls are run there.
    :param events: whether the stream has the turn's events, in the field `vanta` of each chunk.
    """

    policy: str | None = None
    track: str | None = None
    private: bool | None = None
    deadline_s: float | None = None
    tools: list[str] = []
    events: bool = False


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(extra="allow")

    model: str = ""
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_ToolField] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_ANSWERS)
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[int, float] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    vanta: Extension = Extension()

    @property
    def ignored(self) -> list[str]:
        """The fields that have no effect here."""
        return sorted(name for name, value in (self.model_extra or {}).items() if value is not None)

    @property
    def answers(self) -> int:
        """How many answers are asked for."""
        return self.n or 1

    def sampling(self, number: int) -> Sampling:
        """Return the sampling of one of several answers.

        :param number: which one, from 0; each has a seed of its own.
        """
        limits = (self.max_completion_tokens, self.max_tokens)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=None if self.seed is None else self.seed + number,
            stop=stop,
            max_tokens=next((limit for limit in limits if limit is not None), None),
            logit_bias=self.logit_bias or {},
            json_schema=self._schema(),
        )

    def options(self, base: TurnOptions, number: int = 0) -> TurnOptions:
        """Return how the turn is answered.

        :param base: what the model's name chooses.
        :param number: which of several answers this is, from 0.
        """
        ours = self.vanta
        return TurnOptions(
            policy=ours.policy,
            track=ours.track,
            private=ours.private,
            deadline_s=ours.deadline_s,
            sampling=self.sampling(number),
        ).over(base)

    def offered(self) -> list[Tool | str] | None:
        """Return the client's tools and the names of the runtime's; None for no tools."""
        offered: list[Tool | str] = [*self.vanta.tools]
        for place, item in enumerate(self.tools or ()):
            if item.type != "function" or item.function is None:
                continue  # such as a server's own search, which does not exist here
            function = item.function
            schema: Mapping[str, Any] = function.parameters or {"type": "object", "properties": {}}
            try:
                offered.append(Tool(function.name, function.description or "", schema))
            except ValueError as error:
                raise ApiError(400, str(error), param=f"tools.{place}") from None
        return offered or None

    @property
    def choice(self) -> str | None:
        """How tools may be called, as a turn takes it."""
        if isinstance(self.tool_choice, _Choice):
            if self.tool_choice.function is None:
                raise ApiError(400, "'tool_choice' names no function", param="tool_choice")
            return self.tool_choice.function.name
        return self.tool_choice

    def _schema(self) -> Mapping[str, Any] | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return {"type": "object"}
        schema = (wanted.json_schema or {}).get("schema")
        if not isinstance(schema, dict):
            raise ApiError(
                400,
                "'response_format.json_schema.schema' is not an object",
                param="response_format",
            )
        return schema


def read_chat(value: object) -> ChatRequest:
    """Return the request in the JSON of a body.

    :raises ApiError: if it is of another shape; it names the field.
    """
    if not isinstance(value, dict):
        raise ApiError(400, "the body is not a JSON object")
    try:
        return ChatRequest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = _place(first["loc"])
        raise ApiError(400, f"{place!r}: {first['msg']}", param=place) from None


def _place(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location)) or "body"
