"""Plots of a report, as SVG written by hand: latencies one by one, money and pass rates as bars.

Invariant: pure; every text that comes from a report is escaped; nothing is drawn of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from vanta.drawing.colours import colour_of

_WIDTH, _LEFT, _RIGHT, _ROW = 860, 230, 90, 26
Point = tuple[str, float, str]


def dots(rows: Mapping[str, Sequence[Point]], *, unit: str, title: str) -> str:
    """A row of dots for each label: (track, value, what it is), on one logarithmic scale."""
    values = [value for points in rows.values() for _, value, _ in points if value > 0]
    if not values:
        return ""
    low, high = _decade(min(values), down=True), _decade(max(values), down=False)
    body = []
    for exponent in range(round(math.log10(low)), round(math.log10(high)) + 1):
        x = _log_x(10.0**exponent, low, high)
        bottom = 14 + _ROW * len(rows)
        body.append(f'<line class="grid" x1="{x}" y1="10" x2="{x}" y2="{bottom}"/>')
        body.append(_text(x, bottom + 16, f"{10.0**exponent:g} {unit}", "quiet", "middle"))
    for row, (label, points) in enumerate(rows.items()):
        y = 27 + row * _ROW
        body.append(_text(_LEFT - 12, y + 4, _cut(label), "", "end"))
        body += [_dot(_log_x(max(point[1], low), low, high), y, point) for point in points]
    body += _legend(rows, 14 + _ROW * len(rows) + 42)
    return _svg(body, 14 + _ROW * len(rows) + 50, title)


def bars(rows: Mapping[str, tuple[float, str]], *, title: str, full: float | None = None) -> str:
    """A bar for each label: its length and what stands beside it; full: the longest there can be,
    None for the longest there is."""
    most = full or max((value for value, _ in rows.values()), default=0.0)
    if most <= 0:
        return ""
    body = []
    for row, (label, (value, told)) in enumerate(rows.items()):
        y, length = 14 + row * _ROW, value / most * (_WIDTH - _LEFT - _RIGHT)
        body.append(_text(_LEFT - 12, y + 14, _cut(label), "", "end"))
        body.append(f'<rect class="bar" x="{_LEFT}" y="{y + 2}" width="{length:.1f}" height="16"/>')
        body.append(_text(_LEFT + length + 8, y + 14, told, "quiet"))
    return _svg(body, 14 + _ROW * len(rows), title)


def _legend(rows: Mapping[str, Sequence[Point]], y: int) -> list[str]:
    """Whose the dots are, in a line."""
    tracks = dict.fromkeys(track for points in rows.values() for track, *_ in points)
    body, x = [], _LEFT
    for track in tracks:
        body.append(_dot(x, y - 4, (track, 0.0, "")).partition("<title>")[0] + "</circle>")
        body.append(_text(x + 12, y, track, "quiet"))
        x += 40 + 8 * len(track)
    return body


def _dot(x: float, y: float, point: Point) -> str:
    track, value, told = point
    colour = colour_of(track).page
    return (
        f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}" fill-opacity="0.7">'
        f"<title>{escape(f'{told}: {value:.3f}')}</title></circle>"
    )


def _decade(value: float, *, down: bool) -> float:
    exponent = math.log10(value)
    return 10.0 ** (math.floor(exponent) if down else math.floor(exponent) + 1)


def _log_x(value: float, low: float, high: float) -> float:
    share = (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _cut(label: str) -> str:
    return label if len(label) <= 32 else f"{label[:31]}…"


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(body: Sequence[str], height: int, title: str) -> str:
    head = (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'role="img" aria-label="{escape(title)}">'
    )
    caption = f"<figure><figcaption>{escape(title)}</figcaption>"
    return "".join([caption, head, *body, "</svg></figure>"])
