"""A turn as a timeline in a terminal.

Invariant: every lane is one line of the same width, with an axis in milliseconds below. Waiting
(·), unheard text (░) and shown text (█) are distinguishable without colour.
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from vanta.drawing.charts import colour_of
from vanta.drawing.lanes import Lane, Lanes, SpanKind, lanes
from vanta.trace import Trace

_FILL: dict[SpanKind, str] = {"waiting": "·", "unheard": "░", "speaking": "█"}
_MARKS = {"first": "▌", "committed": "▶", "stopped": "✕", "broke": "✂", "rejected": "✕"}
_LEGEND = "· waiting  ▌ first text  ░ writing, unheard  ▶█ chosen, speaking  ✕ stopped  ✂ broke off"
_NARROWEST = 20


class Timeline:
    """A renderable for rich that fills the width of the console."""

    def __init__(self, trace: Trace, *, legend: bool = True) -> None:
        self._trace = trace
        self._legend = legend

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        names = max((len(leg.track) for leg in self._trace.legs), default=0)
        outcomes = [lane.outcome for lane in lanes(self._trace).lanes]
        margin = names + 2 + max(map(len, outcomes), default=0) + 2
        beside = options.max_width - margin >= _NARROWEST
        width = max(_NARROWEST, options.max_width - (margin if beside else names + 2) - 1)
        turn = lanes(self._trace, ticks=max(2, width // 9))
        for lane in turn.lanes:
            bar = _lane(lane, turn, names, width)
            if beside:
                yield bar.append(f"  {lane.outcome}", "dim")
            else:
                yield bar
                yield Text(" " * (names + 2) + lane.outcome, "dim")
        yield Text(" " * (names + 2) + _axis(turn, width), "dim")
        if self._legend:
            yield Text(" " * (names + 2) + _LEGEND, "dim", overflow="fold")


def timeline(trace: Trace, *, legend: bool = True) -> Timeline:
    """Return the timeline of a turn for a rich console.

    :param trace: the trace of the turn.
    :param legend: whether to add a line that explains the signs.
    :returns: a rich renderable.
    """
    return Timeline(trace, legend=legend)


def _lane(lane: Lane, turn: Lanes, names: int, width: int) -> Text:
    colour = colour_of(lane.leg.track).terminal
    cells = [" "] * (width + 1)
    for span in lane.spans:
        first, last = _cell(span.start_s, turn, width), _cell(span.end_s, turn, width)
        cells[first : last + 1] = _FILL[span.kind] * (last + 1 - first)
    for mark in lane.marks:
        cells[_cell(mark.at_s, turn, width)] = _MARKS[mark.kind]
    text = Text(no_wrap=True, overflow="crop")
    return text.append(f"{lane.leg.track:<{names}}  ", f"bold {colour}").append(
        "".join(cells), colour
    )


def _axis(turn: Lanes, width: int) -> str:
    line = ""
    for tick in turn.ticks_s:
        label = f"╵{tick * 1000:.0f}"
        at = _cell(tick, turn, width)
        if at + len(label) <= width - len(" ms"):
            line = line.ljust(at) + label
    return line + " ms"


def _cell(at_s: float, turn: Lanes, width: int) -> int:
    return min(width, max(0, round(at_s / turn.end_s * width)))
