"""A turn as an SVG image for a web page.

Invariant: the image is one self-contained file, readable on light and dark backgrounds, and every
text from a trace is escaped.
"""

from __future__ import annotations

import textwrap
from html import escape

from vanta.drawing.charts import colour_of, svg_line, svg_text
from vanta.drawing.lanes import Lane, Lanes, LaneSpan, Mark, lanes
from vanta.trace import Trace

_WIDTH, _LEFT, _RIGHT = 880, 84, 24
_TOP, _LANE, _BAR = 66, 58, 20
_FOOT, _NOTE_LINE, _NOTE_CHARS = 62, 18, 118
_OPACITY = {"waiting": 0.22, "unheard": 0.5, "speaking": 1.0}
_STYLE = """\
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.track { font-size: 14px; font-weight: 600 }
.quiet { fill: #59636e }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0 }
.mark { stroke: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .ground { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #3d444d }
  .mark { stroke: #f0f6fc }
}"""


def svg(trace: Trace, *, title: str = "", note: str = "") -> str:
    """Return the image of a turn.

    :param trace: the trace of the turn.
    :param title: the heading; "" for the name of the policy.
    :param note: small print below the image, for example which parts are simulated.
    :returns: an SVG document.
    """
    turn = lanes(trace, ticks=9)
    notes = textwrap.wrap(note, _NOTE_CHARS)
    bottom = _TOP + _LANE * len(turn.lanes)
    height = bottom + _FOOT + _NOTE_LINE * len(notes)
    body = [
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        svg_text(_RIGHT, 30, title or f"policy {trace.policy}", "title"),
        *_axis(turn, bottom),
    ]
    for row, lane in enumerate(turn.lanes):
        body += _lane(lane, turn, _TOP + row * _LANE)
    body += _legend(bottom + 44)
    body += [
        svg_text(_RIGHT, bottom + 50 + _NOTE_LINE * number, line, "quiet")
        for number, line in enumerate(notes, start=1)
    ]
    label = escape(_alternative_text(turn))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label="{label}">'
    )
    return "\n".join([head, *body, "</svg>", ""])


def _axis(turn: Lanes, bottom: int) -> list[str]:
    parts = []
    for tick in turn.ticks_s:
        x = _x(tick, turn)
        parts.append(svg_line(x, _TOP - 14, x, bottom))
        unit = " ms" if tick == turn.ticks_s[-1] else ""
        label = f"{tick * 1000:.0f}{unit}"
        parts.append(svg_text(x, bottom + 16, label, "quiet", anchor="middle"))
    return parts


def _lane(lane: Lane, turn: Lanes, top: int) -> list[str]:
    colour = colour_of(lane.leg.track).page
    parts = [svg_text(_RIGHT, top + 15, lane.leg.track, "track")]
    parts += [_span(span, turn, top, colour) for span in lane.spans]
    parts += [part for mark in lane.marks for part in _mark(mark, turn, top, colour)]
    start = _x(lane.leg.started_s, turn)
    label = f"{lane.leg.model} · {lane.outcome}"
    if start > _WIDTH / 2:
        return [*parts, svg_text(_WIDTH - _RIGHT, top + 37, label, "quiet", anchor="end")]
    return [*parts, svg_text(start, top + 37, label, "quiet")]


def _span(span: LaneSpan, turn: Lanes, top: int, colour: str) -> str:
    x, end = _x(span.start_s, turn), _x(span.end_s, turn)
    return (
        f'<rect x="{x}" y="{top}" width="{max(end - x, 1):.1f}" height="{_BAR}" rx="3" '
        f'fill="{colour}" fill-opacity="{_OPACITY[span.kind]}"/>'
    )


def _mark(mark: Mark, turn: Lanes, top: int, colour: str) -> list[str]:
    x, middle = _x(mark.at_s, turn), top + _BAR / 2
    match mark.kind:
        case "first":
            return [_line(x, top - 4, x, top + _BAR + 4)]
        case "committed":
            return [f'<circle cx="{x}" cy="{top - 8}" r="4" fill="{colour}"/>']
        case _:
            return [
                _line(x - 5, middle - 5, x + 5, middle + 5),
                _line(x - 5, middle + 5, x + 5, middle - 5),
            ]


def _legend(y: int) -> list[str]:
    parts, x = [], _RIGHT
    for kind, label in (("waiting", "waiting"), ("unheard", "unheard"), ("speaking", "speaking")):
        parts.append(
            f'<rect x="{x}" y="{y - 10}" width="14" height="11" rx="2" fill="#7d8590" '
            f'fill-opacity="{_OPACITY[kind]}"/>'
        )
        parts.append(svg_text(x + 20, y, label, "quiet"))
        x += 34 + 8 * len(label)
    parts += [_line(x + 6, y - 12, x + 6, y + 2), svg_text(x + 14, y, "first text", "quiet")]
    parts.append(f'<circle cx="{x + 96}" cy="{y - 5}" r="4" fill="#7d8590"/>')
    parts.append(svg_text(x + 106, y, "chosen", "quiet"))
    x += 176
    parts += [_line(x - 5, y - 10, x + 5, y), _line(x - 5, y, x + 5, y - 10)]
    return [*parts, svg_text(x + 12, y, "stopped, rejected or broke off", "quiet")]


def _alternative_text(turn: Lanes) -> str:
    """Return the image in words, for screen readers."""
    return "; ".join(f"{lane.leg.track}: {lane.outcome}" for lane in turn.lanes)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="mark" stroke-width="2" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _x(at_s: float, turn: Lanes) -> float:
    return round(_LEFT + at_s / turn.end_s * (_WIDTH - _LEFT - _RIGHT), 1)
