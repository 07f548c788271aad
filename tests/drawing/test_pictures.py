"""Both drawings of a turn show the data of its trace."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from vanta.drawing import svg, timeline
from vanta.drawing.charts import colour_of
from vanta.drawing.lanes import lanes
from vanta.messages import Usage
from vanta.trace import LegTrace, Trace

NAMESPACE = "{http://www.w3.org/2000/svg}"


def _leg(track: str, state: str, **times: Any) -> LegTrace:
    values = {"leg": 0, "engine": "scripted", "model": "m", "why": "at once", "started_s": 0.0}
    return LegTrace(**{**values, "track": track, "state": state, **times})


def _trace(*legs: LegTrace, duration_s: float = 1.0) -> Trace:
    return Trace(
        turn_id="t",
        session_id="s",
        policy="race",
        private=False,
        deadline_s=60,
        duration_s=duration_s,
        status="answered",
        skipped={},
        context={},
        legs=legs,
    )


RACE = _trace(
    _leg(
        "local",
        "won",
        first_content_s=0.25,
        committed_s=0.25,
        ended_s=1.0,
        usage=Usage(10, 20),
    ),
    _leg(
        "api",
        "cancelled",
        stop_asked_s=0.25,
        ended_s=0.5,
        usage=Usage(10, 3, exact=False),
        cost_usd=0.0000123,
    ),
)


def _parsed(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)  # noqa: S314 - our own


def _lines(trace: Trace, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(timeline(trace))
    return capture.get().splitlines()


def test_a_leg_waits_until_its_first_text_and_speaks_once_it_is_committed() -> None:
    spans = lanes(RACE).lanes[0].spans
    assert [(span.kind, span.start_s, span.end_s) for span in spans] == [
        ("waiting", 0.0, 0.25),
        ("speaking", 0.25, 1.0),
    ]


def test_text_of_a_leg_before_its_commit_is_unheard() -> None:
    judged = _leg("local", "won", first_content_s=0.2, committed_s=0.7, ended_s=0.7)
    spans = lanes(_trace(judged)).lanes[0].spans
    assert [(span.kind, span.start_s, span.end_s) for span in spans] == [
        ("waiting", 0.0, 0.2),
        ("unheard", 0.2, 0.7),
    ]


def test_a_leg_that_never_spoke_only_waited() -> None:
    spans = lanes(RACE).lanes[1].spans
    assert [(span.kind, span.end_s) for span in spans] == [("waiting", 0.5)]


@pytest.mark.parametrize("duration_s", [0.0, 0.0004, 0.37, 2.0, 59.9, 700.0])
def test_the_axis_has_round_ticks_from_zero_to_the_end(duration_s: float) -> None:
    turn = lanes(_trace(_leg("local", "won", ended_s=duration_s), duration_s=duration_s))
    assert turn.ticks_s[0] == 0
    assert 3 <= len(turn.ticks_s) <= 7
    assert turn.ticks_s[-1] <= turn.end_s


def test_the_timeline_has_one_line_per_leg_with_its_cost() -> None:
    local, api, axis, _legend = _lines(RACE)
    assert "answered · 20 tok · 1000 ms · $0" in local
    assert "stopped · ~3 tok · 500 ms · $0.000012" in api
    assert axis.endswith(" ms")
    assert axis.strip().startswith("╵0")


def test_lengths_in_the_timeline_are_in_proportion_to_time() -> None:
    local, api, *_ = _lines(RACE)
    begin, chosen, end = local.index("·"), local.index("▶"), local.rindex("█")
    assert (chosen - begin) / (end - begin) == pytest.approx(0.25, abs=0.02)
    assert api.index("✕") == chosen


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_timeline_fits_the_width_of_the_console(width: int) -> None:
    assert max(map(len, _lines(RACE, width))) <= width


def test_a_takeover_shows_the_broken_leg_and_the_leg_that_continues() -> None:
    broken = _leg("api", "broken", first_content_s=0.1, committed_s=0.1, ended_s=0.4)
    resumed = _leg("local", "won", started_s=0.4, first_content_s=0.5, committed_s=0.5, ended_s=1.0)
    api, local, *_ = _lines(_trace(broken, resumed))
    assert "✂" in api
    assert "broke off" in api
    assert local.index("·") >= api.index("✂")


def test_the_svg_is_well_formed_and_has_every_leg_and_the_unit() -> None:
    root = _parsed(svg(RACE, note="measured"))
    texts = [element.text or "" for element in root.iter(f"{NAMESPACE}text")]
    assert {"local", "api", "measured"} <= set(texts)
    assert any(text.endswith(" ms") for text in texts)
    assert any("stopped · ~3 tok" in text for text in texts)
    assert "local: answered" in root.attrib["aria-label"]


def test_the_svg_has_a_dark_theme() -> None:
    assert "prefers-color-scheme: dark" in svg(RACE)


def test_text_of_a_trace_is_escaped_in_the_svg() -> None:
    hostile = _leg("local", "won", model='"><script>&', ended_s=1.0)
    root = _parsed(svg(_trace(hostile), title="<b>&"))
    assert not list(root.iter(f"{NAMESPACE}script"))
    assert any('"><script>&' in (text.text or "") for text in root.iter(f"{NAMESPACE}text"))


def test_bars_of_the_svg_are_in_proportion_to_time() -> None:
    root = _parsed(svg(RACE))
    green = [
        float(bar.attrib["width"])
        for bar in root.iter(f"{NAMESPACE}rect")
        if bar.attrib.get("fill") == colour_of("local").page
    ]
    assert green[0] / sum(green) == pytest.approx(0.25, abs=0.01)


def test_a_track_keeps_its_colour_and_the_default_tracks_differ() -> None:
    assert colour_of("other") == colour_of("other")
    assert colour_of("local") != colour_of("api")
