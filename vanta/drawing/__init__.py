"""Drawings of turns and runs: `timeline` for a terminal, `svg` for a page, and charts as SVG.

Invariant: every drawing is a pure function of its arguments; both drawings of a turn show the same
lanes (`vanta.drawing.lanes`). Importing this front loads neither rich nor a drawing module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vanta.drawing.charts import (
        ChartPoint,
        bar_chart,
        dot_chart,
        round_ticks,
        svg_document,
        svg_line,
        svg_text,
    )
    from vanta.drawing.turn_svg import svg
    from vanta.drawing.turn_timeline import timeline

__all__ = [
    "ChartPoint",
    "bar_chart",
    "dot_chart",
    "round_ticks",
    "svg",
    "svg_document",
    "svg_line",
    "svg_text",
    "timeline",
]

_HOMES = {"svg": "vanta.drawing.turn_svg", "timeline": "vanta.drawing.turn_timeline"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOMES.get(name, "vanta.drawing.charts"))
    value = getattr(module, name)
    globals()[name] = value
    return value
