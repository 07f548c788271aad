"""Toolsets as tables of actions: a tool, the model of its arguments, and the function that runs it.

Invariant: a function gets arguments that its model has validated. What a model of the conversation
can correct (a wrong path, an unknown unit) is a `CorrectableError` and becomes a result with
`is_error`; anything else is an exception, for the caller of the toolset.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import anyio
from pydantic import BaseModel, ConfigDict, ValidationError

from vanta import Tool, ToolContext, ToolError, ToolResult, Toolset, did_you_mean

SPARE_S = 0.25
"""Seconds before the end of a call at which a tool stops by itself, to return what it has."""


class ToolArguments(BaseModel):
    """The arguments of one tool; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolOptions(BaseModel):
    """The options of one toolset; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CorrectableError(ToolError):
    """A call failed in a way that the model can correct; the message states how."""


@dataclass(frozen=True, slots=True)
class Action:
    """One tool of a table.

    :param tool: what the model sees.
    :param arguments: the model of its arguments.
    :param run: runs one call.
    """

    tool: Tool
    arguments: type[ToolArguments]
    run: Callable[[Any, ToolContext], Awaitable[ToolResult]]


def action(
    name: str,
    description: str,
    arguments: type[ToolArguments],
    run: Callable[[Any, ToolContext], Awaitable[ToolResult]],
    *,
    effect: Literal["read", "idempotent", "write"],
    private: bool,
    untrusted: bool = False,
    timeout_s: float = 30.0,
    price_usd: float = 0.0,
) -> Action:
    """Return an action whose schema is that of its arguments. See `vanta.Tool`."""
    parameters = _without_titles(arguments.model_json_schema())
    tool = Tool(
        name,
        description,
        parameters,
        effect,
        private,
        untrusted,
        timeout_s=timeout_s,
        price_usd=price_usd,
    )
    return Action(tool, arguments, run)


class ActionToolset(Toolset):
    """A toolset that is a table of actions.

    :param name: its name.
    :param actions: its tools.
    """

    def __init__(self, name: str, actions: Sequence[Action]) -> None:
        self.name = name
        self._tools = tuple(item.tool for item in actions)
        self._actions = {item.tool.name: item for item in actions}

    async def tools(self) -> Sequence[Tool]:
        """Return the tools of the table."""
        return self._tools

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Run the action of that name. See `Toolset.call`."""
        entry = self._actions.get(name)
        if entry is None:
            hint = did_you_mean(name, self._actions)
            raise ToolError(f"the toolset {self.name!r} has no tool {name!r}. {hint}")
        try:
            return await entry.run(entry.arguments.model_validate(dict(arguments)), context)
        except ValidationError as error:
            return ToolResult(f"The arguments are wrong: {_reasons(error)}", is_error=True)
        except CorrectableError as error:
            return ToolResult(str(error), is_error=True)


def seconds_left(context: ToolContext, most_s: float) -> float:
    """Return how long a call may run so that it can still return what it has.

    :param context: the call.
    :param most_s: the tool's own limit in seconds.
    """
    return max(0.0, min(most_s, context.ends_at - anyio.current_time() - SPARE_S))


def _reasons(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'arguments'!r}: {item['msg']}"
        for item in problems[:5]
    )


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic derives from names."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: (
            {name: _without_titles(item) for name, item in value.items()}
            if key in {"properties", "$defs"}
            else _without_titles(value)
        )
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
