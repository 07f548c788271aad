"""The Pareto plot of a replay: what each policy costs and what one gets for it, as SVG.

Invariant: it is one self-contained file, readable on a light and on a dark ground; what lies on
the frontier (nothing else is at once as good, as fast and as cheap) is filled, the rest is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from vanta_tuning.replay.summary import Summary, frontier

_WIDTH, _HEIGHT = 720, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 30, 54, 62
_LABEL = (70, 18)
_STYLE = """\
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0 }
.dot { stroke: #0072b2; stroke-width: 2 }
.on { fill: #0072b2 }
.off { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .ground { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #3d444d }
  .dot { stroke: #56b4e9 }
  .on { fill: #56b4e9 }
  .off { fill: #0d1117 }
}"""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis: what it shows of a summary, and from where to where."""

    label: str
    value: Callable[[Summary], float]
    low: float
    high: float
    start: float
    end: float

    def at(self, summary: Summary) -> float:
        return self.place(self.value(summary))

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def plot(summaries: Sequence[Summary], *, note: str = "") -> str:
    """The plot: cost of a turn to the right, and upwards accuracy where it is known, else how soon
    95 % of the turns show something. Policies that failed too often to have that are left out.
    """
    drawn = [one for one in summaries if _is_drawn(one)]
    best = {one.policy for one in frontier(summaries)}
    across, upwards = _axes(drawn)
    body = [
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        _text(_LEFT, 30, f"{upwards.label} against {across.label}", "title"),
        *_grid(across, upwards),
        *[_dot(one, across, upwards, one.policy in best) for one in drawn],
        *[_label(group, across, upwards) for group in _close_together(drawn, across, upwards)],
        _text(_LEFT, _HEIGHT - 12, note, "quiet"),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(upwards.label)} and {escape(across.label)} of policies">'
    )
    return "\n".join([head, *body, "</svg>", ""])


def _is_drawn(summary: Summary) -> bool:
    return summary.accuracy is not None or summary.first_content_s.p95 is not None


def _axes(summaries: Sequence[Summary]) -> tuple[_Axis, _Axis]:
    across = _axis(
        "USD for 1,000 turns", lambda one: one.cost_usd * 1000, summaries, _LEFT, _WIDTH - _RIGHT
    )
    bottom = _HEIGHT - _BOTTOM
    if all(one.accuracy is not None for one in summaries):
        return across, _axis(
            "accuracy, %", lambda one: 100 * (one.accuracy or 0.0), summaries, bottom, _TOP
        )
    # Sooner is better, so it is higher up.
    return across, _axis(
        "p95 of first content, s",
        lambda one: one.first_content_s.p95 or 0.0,
        summaries,
        _TOP,
        bottom,
    )


def _axis(
    label: str,
    value: Callable[[Summary], float],
    summaries: Sequence[Summary],
    start: float,
    end: float,
) -> _Axis:
    values = [value(one) for one in summaries] or [0.0]
    margin = (max(values) - min(values)) * 0.08 or max(abs(max(values)) * 0.1, 0.1)
    low = min(values) - margin
    return _Axis(label, value, max(low, 0.0), max(values) + margin, start, end)


def _grid(across: _Axis, upwards: _Axis) -> list[str]:
    parts = []
    for value in _ticks(across):
        x = across.place(value)
        parts.append(_line(x, _TOP, x, _HEIGHT - _BOTTOM))
        parts.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{value:g}", "quiet", "middle"))
    for value in _ticks(upwards):
        y = upwards.place(value)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y))
        parts.append(_text(_LEFT - 8, y + 4, f"{value:g}", "quiet", "end"))
    return parts


def _dot(summary: Summary, across: _Axis, upwards: _Axis, best: bool) -> str:
    style = "on" if best else "off"
    x, y = across.at(summary), upwards.at(summary)
    return f'<circle class="dot {style}" cx="{x}" cy="{y}" r="6"/>'


def _close_together(
    summaries: Sequence[Summary], across: _Axis, upwards: _Axis
) -> list[list[Summary]]:
    """Policies whose labels would lie on each other, so that they share one."""
    groups: list[list[Summary]] = []
    for one in sorted(summaries, key=lambda one: (across.at(one), upwards.at(one))):
        for group in groups:
            apart = (across.at(one) - across.at(group[0]), upwards.at(one) - upwards.at(group[0]))
            if abs(apart[0]) < _LABEL[0] and abs(apart[1]) < _LABEL[1]:
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _label(group: Sequence[Summary], across: _Axis, upwards: _Axis) -> str:
    """The names of a group, above its uppermost dot, on the side that has room."""
    names = ", ".join(one.policy for one in group)
    y = min(upwards.at(one) for one in group) - 11
    if max(across.at(one) for one in group) < _WIDTH - 180:
        return _text(min(across.at(one) for one in group) + 4, y, names, "", "start")
    return _text(max(across.at(one) for one in group) + 4, y, names, "", "end")


def _ticks(axis: _Axis) -> list[float]:
    """Round steps of 1, 2 or 5 times a power of ten."""
    rough = (axis.high - axis.low) / 5
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(s * scale for s in (1, 2, 5, 10) if s * scale >= rough)
    first = math.ceil(axis.low / step)
    return [round(n * step, 9) for n in range(first, int(axis.high / step) + 1)]


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
