"""Figures have a value or a reason, and they can fail."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vanta.cli.bench import load_benchmarks

BENCHMARKS = load_benchmarks()


def figure(**given: Any) -> Any:
    return BENCHMARKS.Figure(**{"name": "wait", "value": 5.0, "unit": "ms", **given})


@pytest.mark.parametrize(
    ("value", "better", "goal", "holds"),
    [
        (5.0, "lower", 5.0, True),
        (5.1, "lower", 5.0, False),
        (5.0, "higher", 5.0, True),
        (4.9, "higher", 5.0, False),
        (0, "lower", 0, True),
        (1, "lower", 0, False),
        (5.0, "lower", None, None),
    ],
)
def test_a_figure_holds_if_it_meets_its_goal(
    value: float, better: str, goal: float | None, holds: bool | None
) -> None:
    assert figure(value=value, better=better, goal=goal).holds is holds


def test_a_figure_without_a_value_has_a_reason_and_does_not_hold() -> None:
    assert figure(value=None, note="no server").holds is False
    assert figure(value=None, goal=1.0, note="no server").holds is False
    with pytest.raises(ValueError, match="'wait' has no value"):
        figure(value=None)


def test_the_value_of_a_peer_needs_its_name() -> None:
    with pytest.raises(ValueError, match="names no peer"):
        figure(peer_value=3.0)


def test_the_json_object_has_the_agreed_keys() -> None:
    taken = [figure(goal=7.0, peer="another", peer_value=9.87654321, note="as it was")]
    report = BENCHMARKS.report("waiting", taken, quick=True)
    assert list(report) == ["bench", "quick", "commit", "machine", "versions", "figures"]
    assert report["commit"] is None or re.fullmatch(r"[0-9a-f]{7,}\+?", report["commit"])
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["python"].startswith("3.")
    assert report["figures"] == [
        {
            "name": "wait",
            "value": 5.0,
            "unit": "ms",
            "better": "lower",
            "goal": 7.0,
            "holds": True,
            "peer": "another",
            "peer_value": 9.8765,
            "note": "as it was",
        }
    ]


def test_a_percentile_is_one_of_the_values() -> None:
    percentile = BENCHMARKS.load("race").percentile
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 0.5) == 50.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.99) is None


def test_repetitions_override_quick() -> None:
    settings = BENCHMARKS.Settings
    assert settings().times(300, 30) == 300
    assert settings(quick=True).times(300, 30) == 30
    assert settings(quick=True, repetitions=2).times(300, 30) == 2
