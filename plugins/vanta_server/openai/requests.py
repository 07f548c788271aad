"""A chat completion as a client asks for it, read into what a turn takes.

https://platform.openai.com/docs/api-reference/chat/create. Invariant: what is read is complete or
an `ApiError` names the field to blame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from vanta import Sampling, Tool, TurnOptions
from vanta_server.errors import ApiError
from vanta_server.fields import (
    FunctionField,
    RequestBody,
    RequestPart,
    ToolField,
    function_tools,
)

MOST_ANSWERS = 16
"""The largest `n`."""


class _StreamOptions(RequestPart):
    include_usage: bool = False


class _Choice(RequestPart):
    function: FunctionField | None = None


class _Format(RequestPart):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class SampledRequest(RequestBody):
    """What the bodies of chat completions and of completions have in common."""

    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_ANSWERS)
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[int, float] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def answers(self) -> int:
        """How many answers are asked for."""
        return self.n or 1

    @property
    def answer_schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of the answer; None for an answer in words."""
        return None

    @property
    def limit(self) -> int | None:
        """The largest number of tokens of an answer; None for no limit."""
        return self.max_tokens

    @property
    def rivals(self) -> int | None:
        """The number of top alternatives to return per token; None for no logprobs."""
        return None

    def sampling(self, number: int) -> Sampling:
        """Return the sampling of one of several answers.

        :param number: which one, from 0; each has a seed of its own.
        """
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
            max_tokens=self.limit,
            logit_bias=self.logit_bias or {},
            json_schema=self.answer_schema,
            logprobs=self.rivals,
        )


class ChatRequest(SampledRequest):
    """The body of `POST /v1/chat/completions`."""

    messages: list[dict[str, Any]]
    tools: list[ToolField] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    def options(self, base: TurnOptions, number: int = 0) -> TurnOptions:
        """Return how the turn is answered.

        :param base: what the model's name chooses.
        :param number: which of several answers this is, from 0.
        """
        return self.options_of(
            base, self.sampling(number), parallel_tool_calls=self.parallel_tool_calls
        )

    @property
    def offered(self) -> list[Tool | str]:
        """The client's tools and the names of the runtime's."""
        return [*self.vanta.tools, *function_tools(self.tools)]

    @property
    def choice(self) -> str | None:
        """How tools may be called, as a turn takes it."""
        if isinstance(self.tool_choice, _Choice):
            if self.tool_choice.function is None:
                raise ApiError(400, "'tool_choice' names no function", param="tool_choice")
            return self.tool_choice.function.name
        return self.tool_choice

    @property
    def rivals(self) -> int | None:
        """The number of top alternatives to return per token; None for no logprobs.

        :raises ApiError: if alternatives are asked for without logprobs.
        """
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs is not None:
            problem = "'top_logprobs' needs 'logprobs': true"
            raise ApiError(400, problem, param="top_logprobs")
        return None

    @property
    def limit(self) -> int | None:
        """The largest number of tokens of an answer; None for no limit."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def answer_schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of the answer; None for an answer in words.

        :raises ApiError: if the format of the answer has none.
        """
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
