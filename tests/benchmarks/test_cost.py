"""The money benchmark: its checks can fail, and every figure is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vanta.cli.bench import load_benchmarks
from vanta.money import books

BENCHMARKS = load_benchmarks()
cost: Any = BENCHMARKS.load("cost")
SETTINGS = BENCHMARKS.Settings()


def play(folder: Path, open_budget: Any, rounds: int) -> Any:
    return cost.play(folder, rounds, open_budget, SETTINGS, "")


def test_random_schedules_never_exceed_a_cap_and_leave_nothing_reserved(tmp_path: Path) -> None:
    tally = play(tmp_path, cost.open_ledger, 150)
    assert (tally.schedules, tally.overspent, tally.left) == (150, 0, 0)
    assert set(tally.legs) == {"cancelled", "crashed", "paid", "refused"}


def test_a_budget_that_reserves_nothing_exceeds_its_caps_in_the_same_schedules(
    tmp_path: Path,
) -> None:
    assert play(tmp_path, cost.open_unreserved, 40).overspent > 0


def test_a_ledger_that_never_releases_money_of_crashed_legs_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "abandoned", lambda *_: [])
    assert play(tmp_path, cost.open_ledger, 20).left > 0


def test_all_figures_are_measured_and_hold() -> None:
    figures = {figure.name: figure for figure in cost.run(BENCHMARKS.Settings(repetitions=4))}
    assert all(figure.value is not None for figure in figures.values()), figures
    judged = [figure for figure in figures.values() if figure.goal is not None]
    assert len(judged) == 6
    assert all(figure.holds for figure in judged), judged
    calls = figures["20 calls of $0.02 at once against $0.05: off the 2 that the cap allows"]
    assert calls.peer_value > 0
