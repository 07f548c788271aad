"""The guided path and the table of rooms in ARCHITECTURE.md lead to code that exists."""

from __future__ import annotations

import ast
import re

from tests.house.source import ROOT, script

PAGE = ROOT.joinpath("ARCHITECTURE.md").read_text("utf-8")
STOPS = re.findall(r"^\| \d+ \| `([^`]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE)


def names(path: str) -> set[str]:
    """Return the functions of a file, and the methods as `Class.method`."""
    found = set()
    for node in ast.parse(ROOT.joinpath(path).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{getattr(child, 'name', '')}" for child in node.body}
        found.add(getattr(node, "name", ""))
    return found


def test_the_path_has_ten_stops_that_exist() -> None:
    assert len(STOPS) == 10
    assert [stop for stop in STOPS if stop[1] not in names(stop[0])] == []


def test_every_room_is_in_the_table() -> None:
    architecture = script("build_architecture")
    listed = set(re.findall(r"`([a-z_]+)/?`", PAGE))
    rooms = set(architecture.graph()) - {architecture.PLUGINS, architecture.FRONT}
    assert rooms <= listed
