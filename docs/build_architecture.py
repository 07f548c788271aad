"""Draw docs/architecture.svg: the rooms of vanta on their floors, and who imports whom.

Usage: `python docs/build_architecture.py` (or `make docs`). Each import is counted, also those of
annotations and those inside functions. An arrow that follows from others is left out. Invariant:
the picture is a function of the imports alone; `tests/house/test_imports.py` compares it.
"""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("architecture.svg")

BOX_W, BOX_H, GAP_X, GAP_Y, MARGIN = 118, 34, 16, 54, 24
PLUGINS = "plugins"
FRONT = "vanta (front)"

Graph = dict[str, set[str]]


def room_of(module: str) -> str:
    """Return the room of a module: the first name below `vanta`, or the plugins together."""
    top, _, rest = module.partition(".")
    if top != "vanta":
        return PLUGINS
    room = rest.split(".")[0] or FRONT
    return "cli" if room == "__main__" else room


def modules() -> dict[str, Path]:
    """Return every module of vanta and its plugins, by dotted name."""
    folders = [ROOT / "vanta", *sorted(path.parent for path in ROOT.glob("plugins/*/__init__.py"))]
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
        if "_data" not in path.parts
    }


def graph() -> Graph:
    """Return, for each room, the rooms that it imports from."""
    known = modules()
    arrows: Graph = defaultdict(set)
    for module, path in known.items():
        room = room_of(module)
        arrows[room] |= {room_of(target) for target in _targets(path, known)} - {room}
    return dict(arrows)


def _targets(path: Path, known: dict[str, Path]) -> set[str]:
    targets = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            targets |= (inner & set(known)) or {node.module}
    return targets & set(known)


def floors(arrows: Graph) -> list[list[str]]:
    """Return the rooms by floor, the lowest first: each stands above all that it imports from.

    :raises graphlib.CycleError: rooms import each other in a circle.
    """
    height: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(arrows).static_order():
        height[room] = 1 + max((height[below] for below in arrows.get(room, ())), default=-1)
    rows: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    for room in sorted(height):
        rows[height[room]].append(room)
    return rows


def reduced(arrows: Graph) -> Graph:
    """Return the arrows that do not follow from others."""

    def below(room: str) -> set[str]:
        direct = arrows.get(room, set())
        return direct.union(*(below(other) for other in direct)) if direct else set()

    return {
        room: {
            target
            for target in direct
            if not any(target in below(other) for other in direct - {target})
        }
        for room, direct in arrows.items()
    }


def svg() -> str:
    """Return the picture."""
    arrows = graph()
    rows = list(reversed(floors(arrows)))
    width = 2 * MARGIN + max(len(row) for row in rows) * (BOX_W + GAP_X) - GAP_X
    height = 2 * MARGIN + len(rows) * (BOX_H + GAP_Y) - GAP_Y
    places = {
        room: (
            (width - len(row) * (BOX_W + GAP_X) + GAP_X) // 2 + column * (BOX_W + GAP_X),
            MARGIN + floor * (BOX_H + GAP_Y),
        )
        for floor, row in enumerate(rows)
        for column, room in enumerate(row)
    }
    lines = [
        _arrow(places[room], places[target])
        for room, targets in sorted(reduced(arrows).items())
        for target in sorted(targets)
    ]
    boxes = [_box(room, *place) for room, place in sorted(places.items())]
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="sans-serif" font-size="13"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
            "<title>The rooms of vanta: each imports only from rooms below it</title>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *lines,
            *boxes,
            "</svg>",
            "",
        ]
    )


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + BOX_W // 2, start[1] + BOX_H
    x2, y2 = end[0] + BOX_W // 2, end[1]
    bend = GAP_Y // 2
    return (
        f'<path d="M{x1} {y1} C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}" '
        'fill="none" stroke="#9aa5b1" stroke-width="1.2"/>'
    )


def _box(room: str, x: int, y: int) -> str:
    fill = "#fdf0d5" if room == PLUGINS else "#e3eefb"
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="6" fill="{fill}" '
        f'stroke="#52606d"/><text x="{x + BOX_W // 2}" y="{y + BOX_H // 2 + 5}" '
        f'text-anchor="middle" fill="#1f2933">{escape(room)}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
    print(f"{PICTURE.name}: {len(graph())} rooms on {len(floors(graph()))} floors")
