"""The Pareto plot of a replay: the cost of each policy and its benefit, as SVG.

Invariant: one self-contained file, readable on a light and a dark background. Policies on the
frontier are filled, the others are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from vanta.drawing import round_ticks, svg_line, svg_text
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
    """One axis: a figure of a summary, its range, and its place in the plot."""

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
    """Return the plot as SVG: cost to the right, accuracy upwards.

    Without accuracy the p95 of the first content is drawn upwards; a policy without that figure is
    left out.

    :param summaries: one for each policy.
    :param note: a line below the plot.
    """
    drawn = [item for item in summaries if _is_drawn(item)]
    best = {item.policy for item in frontier(summaries)}
    across, upwards = _axes(drawn)
    body = [
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        svg_text(_LEFT, 30, f"{upwards.label} against {across.label}", "title"),
        *_grid(across, upwards),
        *[_dot(item, across, upwards, item.policy in best) for item in drawn],
        *[_label(group, across, upwards) for group in _close_together(drawn, across, upwards)],
        svg_text(_LEFT, _HEIGHT - 12, note, "quiet"),
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
        "USD for 1,000 turns", lambda item: item.cost_usd * 1000, summaries, _LEFT, _WIDTH - _RIGHT
    )
    bottom = _HEIGHT - _BOTTOM
    if all(item.accuracy is not None for item in summaries):
        return across, _axis(
            "accuracy, %", lambda item: 100 * (item.accuracy or 0.0), summaries, bottom, _TOP
        )
    # Sooner is better, so it is further up.
    return across, _axis(
        "p95 of first content, s",
        lambda item: item.first_content_s.p95 or 0.0,
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
    values = [value(item) for item in summaries] or [0.0]
    margin = (max(values) - min(values)) * 0.08 or max(abs(max(values)) * 0.1, 0.1)
    low = min(values) - margin
    return _Axis(label, value, max(low, 0.0), max(values) + margin, start, end)


def _grid(across: _Axis, upwards: _Axis) -> list[str]:
    parts = []
    for value in round_ticks(across.low, across.high, 5):
        x = across.place(value)
        parts.append(svg_line(x, _TOP, x, _HEIGHT - _BOTTOM))
        parts.append(svg_text(x, _HEIGHT - _BOTTOM + 18, f"{value:g}", "quiet", "middle"))
    for value in round_ticks(upwards.low, upwards.high, 5):
        y = upwards.place(value)
        parts.append(svg_line(_LEFT, y, _WIDTH - _RIGHT, y))
        parts.append(svg_text(_LEFT - 8, y + 4, f"{value:g}", "quiet", "end"))
    return parts


def _dot(summary: Summary, across: _Axis, upwards: _Axis, best: bool) -> str:
    style = "on" if best else "off"
    x, y = across.at(summary), upwards.at(summary)
    return f'<circle class="dot {style}" cx="{x}" cy="{y}" r="6"/>'


def _close_together(
    summaries: Sequence[Summary], across: _Axis, upwards: _Axis
) -> list[list[Summary]]:
    """Return groups of policies whose labels would overlap; each group shares one label."""
    groups: list[list[Summary]] = []
    for item in sorted(summaries, key=lambda item: (across.at(item), upwards.at(item))):
        for group in groups:
            apart = (across.at(item) - across.at(group[0]), upwards.at(item) - upwards.at(group[0]))
            if abs(apart[0]) < _LABEL[0] and abs(apart[1]) < _LABEL[1]:
                group.append(item)
                break
        else:
            groups.append([item])
    return groups


def _label(group: Sequence[Summary], across: _Axis, upwards: _Axis) -> str:
    """Return the names of a group, above its uppermost dot, on the side with room."""
    names = ", ".join(item.policy for item in group)
    y = min(upwards.at(item) for item in group) - 11
    if max(across.at(item) for item in group) < _WIDTH - 180:
        return svg_text(min(across.at(item) for item in group) + 4, y, names, "", "start")
    return svg_text(max(across.at(item) for item in group) + 4, y, names, "", "end")
