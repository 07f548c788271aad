"""How the schemas of tools become shorter, and how many fit into their share of a prompt.

A tool is shown with one of three details: `full` as it is; `brief` with the first sentences of its
descriptions and its short constraints; `bare` without those of its parameters. Names, types, what
is required and short enumerations always stay, so a model can call what it is shown. Invariants:
arguments that are valid under the tool's own schema are valid under a shorter one; the tokens of
what is shown, as counted by the caller's function, are within the room, except for tools that have
to be shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vanta.context.tool_share import CountTools
from vanta.tool_contract import Tool, tool_text
from vanta.tools.recall.schema_text import MAX_DEPTH, MAX_ENUM, MAX_NODES

Detail = Literal["full", "brief", "bare"]
"""How much of a tool's schema is shown."""

DESCRIPTION = {"brief": 240, "bare": 120}
"""Characters of a tool's description, by detail."""

BRIEF_PARAMETER = 60
"""Characters of a parameter's description in brief."""

MAX_MISSES = 8
"""Tools in a row that are skipped because they do not fit; then the packing ends."""

COUNTED_AT_ONCE = 32
"""Tools whose tokens are counted in one call."""

_KEPT = ("type", "enum", "const", "required", "format", "minimum", "maximum")
_FINE = (
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "multipleOf",
    "exclusiveMinimum",
    "exclusiveMaximum",
)
"""Constraints that are kept in brief, as far as they are numbers."""

LONGEST_PATTERN = 60
"""Characters of a pattern that is kept in brief."""

_LISTS = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf", "prefixItems": "prefixItems"}
"""Lists of schemas, and what they are in a shorter schema: a value may match two alternatives of
"oneOf" once these are shorter."""

_NAMED = ("properties", "$defs", "definitions")
_SHORT_ENUM = 12
_PLAIN_NAME = re.compile(r"[\w$.-]+")
_KINDS = {"integer": "int"} | {
    kind: kind for kind in ("string", "number", "boolean", "object", "array", "null")
}
_FULLER: Sequence[Detail] = ("full", "brief")


@dataclass(frozen=True, slots=True)
class PackedTool:
    """A tool as it is shown.

    :param place: its place in the sequence that was packed.
    :param tool: the tool, perhaps with a shorter description and schema.
    :param detail: how much of it is shown.
    :param tokens: the tokens of its text.
    """

    place: int
    tool: Tool
    detail: Detail
    tokens: int


Show = Callable[[int, Detail], Tool]
"""Returns a tool as it is shown with some detail, by its place in a sequence."""


async def pack(
    size: int, room: int, count: CountTools, show: Show, *, needed: int = 0
) -> list[PackedTool]:
    """Return the tools that fit, in their order, the first ones with the most detail.

    :param size: the number of tools; the first is the best.
    :param room: tokens for all of them.
    :param count: returns the tokens of tools.
    :param show: returns a tool.
    :param needed: how many of the first tools are packed even if they do not fit.
    """
    packed: list[PackedTool] = []
    left, misses = room, 0
    for start in range(0, size, COUNTED_AT_ONCE):
        places = range(start, min(start + COUNTED_AT_ONCE, size))
        for item in await _counted(places, "bare", count, show):
            if item.place < needed or item.tokens <= left:
                misses, left = 0, left - item.tokens
                packed.append(item)
            else:
                misses += 1
        if places.stop >= needed and (misses > MAX_MISSES or left <= 0):
            break
    return await _with_detail(packed, left, count, show)


async def _with_detail(
    packed: Sequence[PackedTool], left: int, count: CountTools, show: Show
) -> list[PackedTool]:
    """Return the tools with as much detail as fits into what is left, the first ones first."""
    detailed = list(packed)
    for start in range(0, len(packed), COUNTED_AT_ONCE):
        if left <= 0:
            break
        part = packed[start : start + COUNTED_AT_ONCE]
        places = [item.place for item in part]
        choices = [await _counted(places, detail, count, show) for detail in _FULLER]
        for number, (item, *fuller) in enumerate(zip(part, *choices, strict=True), start):
            better = next((it for it in fuller if it.tokens - item.tokens <= left), item)
            left -= better.tokens - item.tokens
            detailed[number] = better
    return detailed


async def pack_whole(
    size: int, room: int, count: CountTools, show: Show
) -> list[PackedTool] | None:
    """Return all tools in full, or None if they do not fit.

    :param size: the number of tools.
    :param room: tokens for all of them.
    :param count: returns the tokens of tools.
    :param show: returns a tool.
    """
    packed: list[PackedTool] = []
    left = room
    for start in range(0, size, COUNTED_AT_ONCE):
        places = range(start, min(start + COUNTED_AT_ONCE, size))
        packed += await _counted(places, "full", count, show)
        left -= sum(item.tokens for item in packed[start:])
        if left < 0:
            return None
    return packed


def shorten(tool: Tool, detail: Detail) -> Tool:
    """Return a tool with a shorter description and schema.

    :param tool: the tool.
    :param detail: how much is left of it.
    """
    if detail == "full":
        return tool
    parameters = _shorter(tool.parameters, BRIEF_PARAMETER if detail == "brief" else 0, 0)
    description = first_sentences(tool.description, DESCRIPTION[detail])
    return replace(tool, description=description, parameters=parameters)


def first_sentences(text: str, limit: int) -> str:
    """Return the beginning of a text: whole sentences if one fits, otherwise words and "...".

    :param text: the text; line breaks count as spaces.
    :param limit: characters.
    """
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    ends = [line.rfind(mark, 0, limit) for mark in (". ", "! ", "? ", "。", "; ")]
    if max(ends) >= limit // 3:
        return line[: max(ends) + 1].rstrip(";")
    cut = line[: max(0, limit - 3)]
    at_word = cut.rpartition(" ")[0] if " " in cut[limit // 2 :] else cut
    return f"{at_word.rstrip(' ,;:')}..."


def render_signature(tool: Tool) -> str:
    """Return a tool as a signature, the shortest text by which a model can call it:
    `area(base: number, height: number, unit?: "cm"|"m"): Calculate the area of a triangle.`

    Descriptions of parameters follow in lines of their own.

    :param tool: the tool.
    """
    schema = _mapping(tool.parameters)
    listed = _Types(schema).members(schema)
    lines = [f"{tool.name}({listed}): {' '.join(tool.description.split())}".rstrip(": ")]
    for name, part in _mapping(schema.get("properties")).items():
        description = _mapping(part).get("description")
        if isinstance(description, str) and description.strip():
            lines.append(f"  {_key(name)}: {' '.join(description.split())}")
    return "\n".join(lines) + "\n"


def render_json(tool: Tool) -> str:
    """Return a tool as the JSON that most chat templates show: one function in one line.

    :param tool: the tool.
    """
    return f"{tool_text(tool)}\n"


async def _counted(
    places: Sequence[int], detail: Detail, count: CountTools, show: Show
) -> list[PackedTool]:
    tools = [show(place, detail) for place in places]
    counts = await count(tools)
    return [
        PackedTool(place, tool, detail, max(0, tokens))
        for place, tool, tokens in zip(places, tools, counts.tools, strict=True)
    ]


def _fine_constraints(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else a schema constrains in few words. What is left out is checked all the same:
    arguments are read under the tool's own schema."""
    kept = {key: part[key] for key in _FINE if type(part.get(key)) in (int, float)}
    pattern = part.get("pattern")
    if isinstance(pattern, str) and len(pattern) <= LONGEST_PATTERN:
        kept["pattern"] = pattern
    return kept


def _shorter(schema: object, limit: int, depth: int) -> dict[str, Any]:
    """Return a schema with descriptions of up to `limit` characters, and without what constrains
    little."""
    part = _mapping(schema)
    result: dict[str, Any] = {key: part[key] for key in _KEPT if key in part}
    if limit:
        result |= _fine_constraints(part)
    if isinstance(part.get("enum"), list) and len(part["enum"]) > _SHORT_ENUM:
        del result["enum"]
        limit = max(limit, BRIEF_PARAMETER)  # the description says what the values are
    if "$ref" in part:  # older dialects ignore everything beside it
        is_kept = str(part["$ref"]).startswith(("#/$defs/", "#/definitions/"))
        result = {"$ref": part["$ref"]} if is_kept else {}
    if depth and limit and isinstance(part.get("description"), str) and part["description"]:
        result["description"] = first_sentences(part["description"], limit)
    return result | (_shorter_children(part, limit, depth + 1) if depth < MAX_DEPTH else {})


def _shorter_children(part: Mapping[str, Any], limit: int, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key in _NAMED if "$ref" not in part else _NAMED[1:]:
        if isinstance(part.get(key), Mapping) and part[key]:
            children = part[key].items()
            result[key] = {name: _shorter(child, limit, depth) for name, child in children}
    if "$ref" in part:
        return result
    for key, shorter_key in _LISTS.items():
        if isinstance(part.get(key), list) and shorter_key not in result:
            result[shorter_key] = [_shorter(child, limit, depth) for child in part[key]]
    rest = "" if "patternProperties" in part else "additionalProperties"
    for key in ("items", rest):
        if isinstance(part.get(key), Mapping):
            result[key] = _shorter(part[key], limit, depth)
    return result


class _Types:
    """Writes the types of one schema as a model reads them in code, up to a number of parts."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = MAX_NODES

    def members(self, part: Mapping[str, Any], depth: int = 0) -> str:
        """Return the properties of an object, separated by commas."""
        required = _names(part.get("required"))
        return ", ".join(
            f"{_key(name)}{'' if name in required else '?'}: {self._of(child, depth)}"
            for name, child in _mapping(part.get("properties")).items()
        )

    def _of(self, schema: object, depth: int) -> str:
        part = _mapping(schema)
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            return "any"
        if isinstance(part.get("$ref"), str):
            return self._of(_resolved(part["$ref"], self._root), depth + 1)
        values = part.get("enum", [part["const"]] if "const" in part else None)
        if isinstance(values, list) and 0 < len(values) <= MAX_ENUM:
            return "|".join(json.dumps(item, ensure_ascii=False, default=str) for item in values)
        for key in ("anyOf", "oneOf"):
            if isinstance(part.get(key), list):
                kinds = [self._of(child, depth + 1) for child in part[key][:MAX_ENUM]]
                return "|".join(dict.fromkeys(kinds)) or "any"
        return "|".join(dict.fromkeys(self._kinds(part, depth))) or "any"

    def _kinds(self, part: Mapping[str, Any], depth: int) -> Iterator[str]:
        listed = part.get("type", "object" if "properties" in part else "any")
        for kind in listed if isinstance(listed, list) else [listed]:
            if kind == "array":
                inner = self._of(part.get("items"), depth + 1)
                yield f"({inner})[]" if "|" in inner else f"{inner}[]"
            elif kind == "object" and _mapping(part.get("properties")):
                yield f"{{{self.members(part, depth + 1)}}}"
            else:
                yield _KINDS.get(kind, "any") if isinstance(kind, str) else "any"


def _resolved(reference: str, root: Mapping[str, Any]) -> object:
    """Return the part of a schema that `#/$defs/NAME` refers to; None for any other reference."""
    value: object = root
    for key in reference.removeprefix("#/").split("/"):
        value = _mapping(value).get(key)
    return value


def _key(name: object) -> str:
    """Return the name of a property as it is, or quoted if it is not a plain name."""
    text = str(name)
    return text if _PLAIN_NAME.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _names(value: object) -> frozenset[str]:
    listed = value if isinstance(value, list) else []
    return frozenset(item for item in listed if isinstance(item, str))
