"""What the search reads of a tool: the words of its name, description and parameters.

A schema is written by others, so nothing of its shape is assumed. Invariant: the time for a tool is
bounded, whatever its schema holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vanta.tool_contract import Tool

MAX_DEPTH = 6
"""Levels of a nested schema that are read."""

MAX_NODES = 400
"""Parts of a schema that are read."""

MAX_TEXT = 4_000
"""Characters of a description that are read."""

MAX_ENUM = 40
"""Values of an enumeration that are read."""

_JOINTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_.\-/:]+")


@dataclass(frozen=True, slots=True)
class ToolText:
    """The texts of a tool.

    :param name: the words of its name, and of its toolset's.
    :param description: what it does.
    :param parameters: the words of its parameters' names.
    :param details: the descriptions and the values of its parameters.
    """

    name: str
    description: str
    parameters: str
    details: str

    @property
    def meaning(self) -> str:
        """The text that stands for the tool in a search by meaning."""
        return f"{self.name}: {self.description} {self.parameters}".strip()


def text_of(tool: Tool, toolset: str) -> ToolText:
    """Return the texts of a tool.

    :param tool: the tool.
    :param toolset: the name of its toolset.
    """
    names, details = list[str](), list[str]()
    for name, schema in walk(tool.parameters):
        if name:
            names.append(split_name(name))
        description = schema.get("description")
        if name and isinstance(description, str):
            details.append(description[:MAX_TEXT])
        values = schema.get("enum")
        if isinstance(values, list):
            details += [split_name(item) for item in values[:MAX_ENUM] if isinstance(item, str)]
    return ToolText(
        split_name(f"{toolset} {tool.name}" if toolset else tool.name),
        tool.description[:MAX_TEXT],
        " ".join(names),
        " ".join(details)[: 2 * MAX_TEXT],
    )


def split_name(name: str) -> str:
    """Return the words of an identifier: `getTopScorer`, `get_top_scorer` and `get.top-scorer`.

    :param name: the identifier.
    """
    return " ".join(_JOINTS.sub(" ", name[:MAX_TEXT]).split())


def walk(schema: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the parts of a schema, parents first: the name of each property, and its schema. Other
    parts, such as the items of a list, have an empty name.

    :param schema: a JSON Schema, or anything else.
    """
    waiting: list[tuple[str, object, int]] = [("", schema, 0)]
    nodes = 0
    while waiting and nodes < MAX_NODES:
        name, part, depth = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        nodes += 1
        yield name, part
        if depth < MAX_DEPTH:
            children = list(_children(part))[:MAX_NODES]
            waiting += [(name, child, depth + 1) for name, child in reversed(children)]


def _children(part: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    properties = part.get("properties")
    if isinstance(properties, Mapping):
        yield from ((name, child) for name, child in properties.items() if isinstance(name, str))
    for key in ("items", "additionalProperties"):
        yield "", part.get(key)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(part.get(key), list):
            yield from (("", child) for child in part[key])
    for key in ("$defs", "definitions"):
        if isinstance(part.get(key), Mapping):
            yield from (("", child) for child in part[key].values())
