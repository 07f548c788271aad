"""Charts draw their data to scale, escape every text, and draw nothing without data."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.drawing import ChartPoint, bar_chart, dot_chart, round_ticks

NAMESPACE = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert(1)</script> & "quoted"'


def parts(picture: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(NAMESPACE + tag))  # noqa: S314 - our own text


def test_a_bar_is_as_long_as_its_value() -> None:
    picture = bar_chart({"a": (1.0, "one"), "b": (0.5, "half")}, title="t")
    first, second = (float(bar.get("width", 0)) for bar in parts(picture, "rect"))
    assert first == pytest.approx(2 * second)
    full = bar_chart({"a": (1.0, "one")}, title="t", full=2.0)
    assert float(parts(full, "rect")[0].get("width", 0)) == pytest.approx(second)


def test_dots_are_on_a_logarithmic_scale() -> None:
    points = [ChartPoint("local", value, "turn") for value in (0.1, 1.0, 10.0)]
    dots = parts(dot_chart({"row": points}, unit="s", title="t"), "circle")
    low, middle, high = (float(dot.get("cx", 0)) for dot in dots[:3])
    assert middle - low == pytest.approx(high - middle, abs=0.2)


def test_texts_are_escaped() -> None:
    bars = bar_chart({EVIL: (1.0, EVIL)}, title=EVIL)
    dots = dot_chart({EVIL: [ChartPoint(EVIL, 1.0, EVIL)]}, unit=EVIL, title=EVIL)
    for picture in (bars, dots):
        assert "<script>" not in picture
        assert parts(picture, "svg")[0].get("aria-label") == EVIL


def test_without_data_there_is_no_chart() -> None:
    assert bar_chart({}, title="t") == ""
    assert bar_chart({"a": (0.0, "none")}, title="t") == ""
    assert dot_chart({"a": [ChartPoint("x", 0.0, "none")]}, unit="s", title="t") == ""


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(min_value=2, max_value=12))
def test_ticks_are_round_and_within_the_range(low: float, width: float, about: int) -> None:
    ticks = round_ticks(low, low + width, about)
    assert all(low - 1e-6 <= tick <= low + width + 1e-6 for tick in ticks)
    assert len(ticks) <= about + 1
