"""Drawings of turns and runs: `timeline` for a terminal, `svg` for a page, and charts as SVG.

Invariant: every drawing is a pure function of its arguments; both drawings of a turn show the same
lanes (`vanta.drawing.lanes`). Importing this front loads neither rich nor a drawing module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

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

_NAMES = {
    ".charts": ("ChartPoint bar_chart dot_chart round_ticks svg_document svg_line svg_text"),
    ".turn_svg": "svg",
    ".turn_timeline": "timeline",
}


__getattr__ = lazy_front(__name__, _NAMES)
