"""Charts as SVG: a row of dots or a bar for each label, the elements of other charts, and colours.

Each track has one colour in every drawing. The colours are distinguishable with colour blindness
(Okabe and Ito, 2008) and readable on light and dark backgrounds.

Invariant: pure functions that escape every text; a chart without data is "". Charts carry class
names (`quiet`, `grid`, `bar`) and no colours except those of the tracks, so the page or the
surrounding SVG controls the light and the dark theme.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _ROW = 860, 230, 90, 26
_MAX_LABEL = 32


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour of a track: a name known to rich, and a hexadecimal value for SVG."""

    terminal: str
    page: str


_KNOWN = {"local": Colour("green", "#009e73"), "api": Colour("dodger_blue1", "#2b7fd4")}
_OTHERS = (
    Colour("dark_orange", "#d55e00"),
    Colour("orchid", "#cc79a7"),
    Colour("gold3", "#b8860b"),
)


def colour_of(track: str) -> Colour:
    """Return the colour of a track, which depends on its name alone."""
    return _KNOWN.get(track) or _OTHERS[zlib.crc32(track.encode()) % len(_OTHERS)]


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """A value in a dot chart.

    :param track: the track, which decides the dot's colour.
    :param value: the value; only values above 0 fit the logarithmic scale.
    :param title: the label in the tooltip.
    """

    track: str
    value: float
    title: str


def dot_chart(rows: Mapping[str, Sequence[ChartPoint]], *, unit: str, title: str) -> str:
    """Return a row of dots for each label, on one logarithmic scale.

    :param rows: label -> points.
    :param unit: the unit of the scale.
    :param title: the chart in words, for screen readers.
    :returns: an `<svg>` element, or "" if no value is above 0.
    """
    values = [point.value for points in rows.values() for point in points if point.value > 0]
    if not values:
        return ""
    low = 10.0 ** math.floor(math.log10(min(values)))
    high = 10.0 ** (math.floor(math.log10(max(values))) + 1)
    bottom = 14 + _ROW * len(rows)
    body = []
    for exponent in range(round(math.log10(low)), round(math.log10(high)) + 1):
        x = _log_x(10.0**exponent, low, high)
        body.append(svg_line(x, 10, x, bottom))
        body.append(svg_text(x, bottom + 16, f"{10.0**exponent:g} {unit}", "quiet", "middle"))
    for row, (label, points) in enumerate(rows.items()):
        y = 27 + row * _ROW
        body.append(svg_text(_LEFT - 12, y + 4, _shortened(label), anchor="end"))
        body += [
            _dot(_log_x(max(point.value, low), low, high), y, point.track, _tooltip(point))
            for point in points
        ]
    tracks = dict.fromkeys(point.track for points in rows.values() for point in points)
    body += _legend(tracks, bottom + 42)
    return svg_document(body, _WIDTH, bottom + 50, title)


def bar_chart(
    rows: Mapping[str, tuple[float, str]], *, title: str, full: float | None = None
) -> str:
    """Return a bar for each label.

    :param rows: label -> length of the bar, and the text beside it.
    :param title: the chart in words, for screen readers.
    :param full: the value of a bar over the whole width; None for the largest value.
    :returns: an `<svg>` element, or "" if no bar has a length.
    """
    most = full or max((value for value, _ in rows.values()), default=0.0)
    if most <= 0:
        return ""
    body = []
    for row, (label, (value, text)) in enumerate(rows.items()):
        y, length = 14 + row * _ROW, value / most * (_WIDTH - _LEFT - _RIGHT)
        body.append(svg_text(_LEFT - 12, y + 14, _shortened(label), anchor="end"))
        body.append(f'<rect class="bar" x="{_LEFT}" y="{y + 2}" width="{length:.1f}" height="16"/>')
        body.append(svg_text(_LEFT + length + 8, y + 14, text, "quiet"))
    return svg_document(body, _WIDTH, 14 + _ROW * len(rows), title)


def svg_document(body: Iterable[str], width: int, height: int, title: str) -> str:
    """Return an `<svg class="plot">` element around `body`; `title` is for screen readers."""
    head = (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}">'
    )
    return "".join([head, *body, "</svg>"])


def svg_text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    """Return a `<text>` element; `style` is its class, `anchor` is start, middle or end."""
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def svg_line(x1: float, y1: float, x2: float, y2: float, style: str = "grid") -> str:
    """Return a `<line>` element; `style` is its class."""
    return f'<line class="{style}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def round_ticks(low: float, high: float, about: int) -> list[float]:
    """Return about `about` round values within [low, high], in steps of 1, 2 or 5 times 10^n."""
    rough = (high - low) / about
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * scale for factor in (1, 2, 5) if factor * scale >= rough), 10 * scale)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 9) for number in range(first, last + 1)]


def _legend(tracks: Iterable[str], y: int) -> list[str]:
    body, x = [], _LEFT
    for track in tracks:
        body.append(_dot(x, y - 4, track))
        body.append(svg_text(x + 12, y, track, "quiet"))
        x += 40 + 8 * len(track)
    return body


def _dot(x: float, y: float, track: str, tooltip: str = "") -> str:
    return (
        f'<circle cx="{x}" cy="{y}" r="5" fill="{colour_of(track).page}" fill-opacity="0.7">'
        f"{tooltip}</circle>"
    )


def _tooltip(point: ChartPoint) -> str:
    return f"<title>{escape(f'{point.title}: {point.value:.3f}')}</title>"


def _log_x(value: float, low: float, high: float) -> float:
    share = (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _shortened(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"
