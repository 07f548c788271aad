"""The functions and the questions of the benchmark, in the shape of tools.

The data is BFCL's (ShishirPatil/gorilla, Apache-2.0), in the file `tool_recall_dev.json.gz` (see
`benchmarks.report.data_file`). Its schemas use the types of Python and names with dots; both are
written as JSON Schema and as chat APIs want them. Invariant: every needed tool is among the tools.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vanta.tool_contract import Tool
from vanta.tools.registry import OfferedTool

FILE = "tool_recall_dev.json.gz"
TOOLSET = "bfcl"

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
_FIXED = 2
"""Every question whose number is a multiple of this was used to choose weights."""


@dataclass(frozen=True, slots=True)
class ToolQuestion:
    """A question and the places of the tools that it needs."""

    text: str
    needed: frozenset[int]
    held_out: bool

    @property
    def is_multiple(self) -> bool:
        """Whether it needs several tools."""
        return len(self.needed) > 1


@dataclass(frozen=True, slots=True)
class ToolData:
    """All tools, their schemas as they came, and the questions."""

    tools: Sequence[OfferedTool]
    schemas: Sequence[str]
    questions: Sequence[ToolQuestion]


def read_data(path: Path, *, every: int = 1) -> ToolData:
    """Return the data of a file.

    :param path: the file.
    :param every: use one of so many questions.
    """
    data = json.loads(gzip.decompress(path.read_bytes()))
    names = _names([row["name"] for row in data["tools"]])
    tools = [
        OfferedTool(TOOLSET, _tool(row, name), name)
        for row, name in zip(data["tools"], names, strict=True)
    ]
    places = {row["name"]: place for place, row in enumerate(data["tools"])}
    questions = [
        ToolQuestion(
            row["query"], frozenset(places[name] for name in row["tools"]), number % _FIXED != 0
        )
        for number, row in enumerate(data["queries"])
    ]
    return ToolData(tools, [json.dumps(row) for row in data["tools"]], questions[::every])


def _names(names: Sequence[str]) -> list[str]:
    """Return the names as chat APIs want them; equal ones get a number, as no offer has two."""
    used: Counter[str] = Counter()
    written = []
    for name in names:
        plain = name.replace(".", "_")
        used[plain] += 1
        written.append(plain if used[plain] == 1 else f"{plain}_{used[plain]}")
    return written


def _tool(row: Mapping[str, Any], name: str) -> Tool:
    return Tool(name, row["description"], _as_json_schema(row["parameters"]))


def _as_json_schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_json_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: _as_json_schema(item) for key, item in value.items() if key != "type"}
    kind = value.get("type")
    if isinstance(kind, dict):  # a parameter whose name is "type"
        result["type"] = _as_json_schema(kind)
    elif kind is not None and (written := _TYPES.get(kind, kind)) is not None:
        result["type"] = written
    return result
