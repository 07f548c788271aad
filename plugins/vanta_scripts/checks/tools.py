"""The expectation `tool_called`: the reply asks for a tool.

Invariant: an argument that is told has to be there with that value; others may be there, too. What
a model asks for may come in several calls, in any order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vanta.expectations import Expectation, Failure, Seen
from vanta.messages import ToolCall
from vanta_scripts.checks.values import Text, many
from vanta_scripts.expectations import excerpt


class Called(BaseModel):
    """A tool's name, and the arguments that matter."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text
    arguments: dict[str, Any] = {}


def _calls(value: object) -> Any:
    return [{"name": one} if isinstance(one, str) else one for one in many(value)]


_One = Text | Called
_Calls = Annotated[
    list[Called],
    BeforeValidator(_calls, json_schema_input_type=_One | list[_One]),
    Field(min_length=1),
]


def _called(wanted: list[Called], seen: Seen) -> Failure | None:
    calls = seen.reply.tool_calls
    missing = [one for one in wanted if not any(_fits(call, one) for call in calls)]
    if not missing:
        return None
    told = ", ".join(_shown(one.name, one.arguments) for one in missing)
    came = ", ".join(f"{call.name}({call.arguments})" for call in calls)
    none = f"no call, but the reply {excerpt(seen.reply.text)}"
    return Failure("tool_called", f"a call of {told}", came or none)


def _fits(call: ToolCall, wanted: Called) -> bool:
    given = _arguments(call)
    return call.name == wanted.name and all(
        name in given and given[name] == value for name, value in wanted.arguments.items()
    )


def _arguments(call: ToolCall) -> Mapping[str, Any]:
    try:
        given = json.loads(call.arguments or "{}")
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def _shown(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name} with {json.dumps(arguments, ensure_ascii=False)}" if arguments else name


EXPECTATIONS = (
    Expectation("tool_called", "a tool that the reply asks for, or several", _Calls, _called),
)
