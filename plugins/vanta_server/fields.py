"""What the requests of several protocols have in common: vanta's own field, and how they are read.

Reading is tolerant: fields that this server does not know are ignored and named in the answer's
`vanta.ignored`, so that no client breaks on one that is new. Invariant: what is read is complete or
an `ApiError` names the field to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vanta import Sampling, Tool, TurnOptions
from vanta_server.errors import ApiError

RequestT = TypeVar("RequestT", bound="RequestBody")


class RequestPart(BaseModel):
    """A part of a request, which may have fields that are not known here."""

    model_config = ConfigDict(extra="allow")


class Extension(RequestPart):
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


class RequestBody(RequestPart):
    """The body of a request that is answered with a turn."""

    model: str = ""
    vanta: Extension = Extension()

    @property
    def ignored(self) -> list[str]:
        """The fields that have no effect here."""
        return sorted(name for name, value in (self.model_extra or {}).items() if value is not None)

    def options_of(
        self,
        base: TurnOptions,
        sampling: Sampling,
        *,
        parallel_tool_calls: bool | None = None,
    ) -> TurnOptions:
        """Return how the turn is answered.

        :param base: what the model's name chooses.
        :param sampling: how to sample.
        :param parallel_tool_calls: whether one answer may have several calls.
        """
        ours = self.vanta
        return TurnOptions(
            policy=ours.policy,
            track=ours.track,
            private=ours.private,
            deadline_s=ours.deadline_s,
            sampling=sampling,
            parallel_tool_calls=parallel_tool_calls,
        ).over(base)


class FunctionField(RequestPart):
    """A function that the client offers, as OpenAI and Ollama write it."""

    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolField(RequestPart):
    """A tool that the client offers, as OpenAI and Ollama write it."""

    type: str = "function"
    function: FunctionField | None = None


def read_request(kind: type[RequestT], value: object) -> RequestT:
    """Return the request in the JSON of a body.

    :param kind: the type of the request.
    :param value: the JSON.
    :raises ApiError: if it is of another shape; it names the field.
    """
    if not isinstance(value, dict):
        raise ApiError(400, "the body is not a JSON object")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = _place(first["loc"])
        raise ApiError(400, f"{place!r}: {first['msg']}", param=place) from None


def client_tool(
    name: str, description: str | None, schema: Mapping[str, Any] | None, place: str
) -> Tool:
    """Return a tool of the client.

    :param name: its name.
    :param description: what it does.
    :param schema: the JSON Schema of its arguments; None for no arguments.
    :param place: where the request has it.
    :raises ApiError: if it cannot be offered to a model.
    """
    try:
        return Tool(name, description or "", schema or {"type": "object", "properties": {}})
    except ValueError as error:
        raise ApiError(400, str(error), param=place) from None


def function_tools(fields: Sequence[ToolField] | None) -> list[Tool]:
    """Return the functions among the tools of a client; other kinds of tools do not exist here.

    :param fields: the tools as the request has them.
    :raises ApiError: if one of them cannot be offered to a model.
    """
    return [
        client_tool(
            item.function.name,
            item.function.description,
            item.function.parameters,
            f"tools.{place}",
        )
        for place, item in enumerate(fields or ())
        if item.type == "function" and item.function is not None
    ]


def _place(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location)) or "body"
