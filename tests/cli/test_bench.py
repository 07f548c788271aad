"""`vanta bench`, as a user meets it; what the figures are is tested in `tests/benchmarks`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.as_user import Run
from vanta.cli.bench import load_benchmarks


@pytest.fixture
def overhead() -> Any:
    return load_benchmarks().load("overhead")


def allow(overhead: Any, monkeypatch: pytest.MonkeyPatch, goal_ms: float) -> None:
    for name in ("TURN_GOAL_MS", "RECALL_GOAL_MS", "IMPORT_GOAL_MS", "HELP_GOAL_MS"):
        monkeypatch.setattr(overhead, name, goal_ms)


def test_without_a_name_the_benchmarks_are_listed(vanta: Run) -> None:
    done = vanta("bench")
    assert done.code == 0
    for name in load_benchmarks().BENCHMARKS:
        assert name in done.out


def test_an_unknown_name_is_reported_with_the_nearest(vanta: Run) -> None:
    done = vanta("bench", "overheat")
    assert (done.code, done.out) == (2, "")
    assert "no benchmark is named 'overheat'. Did you mean 'overhead'?" in done.err


def test_one_part_is_measured_alone(vanta: Run) -> None:
    done = vanta("bench", "tools", "--part", "rounds", "--repetitions", "2", "--json")
    assert done.code in {0, 1}, done.text  # two repetitions on a busy machine may miss a goal
    names = [figure["name"] for figure in done.json["figures"]]
    assert len(names) == 4
    assert all("round" in name or "the same" in name for name in names)


def test_an_unknown_part_is_reported_with_those_there_are(vanta: Run) -> None:
    done = vanta("bench", "tools", "--part", "round")
    assert (done.code, done.out) == (2, "")
    assert "no part of the benchmark 'tools' is named 'round'. Did you mean 'rounds'?" in done.err


def test_a_peers_python_that_is_not_there_is_a_usage_error(vanta: Run) -> None:
    done = vanta("bench", "overhead", "--peer-python", "no/such/python")
    assert (done.code, done.out) == (2, "")
    assert "no/such/python" in done.text


def test_a_goal_that_holds_ends_in_0_and_prints_one_object(
    vanta: Run, overhead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(overhead, monkeypatch, 1e9)
    done = vanta("bench", "overhead", "--repetitions", "2", "--json")
    assert done.code == 0, done.text
    assert set(done.json) == {"bench", "commit", "quick", "machine", "versions", "figures"}
    assert done.json["bench"] == "overhead"
    assert all(figure["holds"] is not False for figure in done.json["figures"])
    assert "measuring: turns" in done.err


def test_a_goal_that_is_missed_ends_in_1_and_is_in_the_table(
    vanta: Run, overhead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(overhead, monkeypatch, 0.0)
    done = vanta("bench", "overhead", "--repetitions", "2")
    assert done.code == 1
    assert "<= 0 misses" in done.text
    assert "litellm is not installed" in done.text


def test_ctrl_c_leaves_a_report_of_the_figures_taken_so_far(
    vanta: Run, overhead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = load_benchmarks().Figure(name="turn", value=7.0, unit="ms")

    def run(_settings: Any) -> Iterator[Any]:
        yield figure
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(overhead, "run", run)
    done = vanta("bench", "overhead", "--json")
    assert done.code == 130
    assert [each["name"] for each in done.json["figures"]] == ["turn"]
    assert "turn: 7 ms" in done.err
