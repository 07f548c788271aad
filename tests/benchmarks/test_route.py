"""The router's benchmark on generated outcomes: all figures are measured, on unseen rows only."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.routing import worlds
from vanta.cli.bench import load_benchmarks

BENCHMARKS = load_benchmarks()
ROUTE: Any = BENCHMARKS.load("route")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "routellm_outcomes.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(["bench", "prompt", "weak_correct", "strong_correct"])
        for row in worlds.outcomes(300):
            table.writerow(["mmlu", row.prompt, int(row.weak), int(row.strong)])
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(ROUTE, "SUITES", (ROUTE.RouteSuite("mmlu", 120, 80, 0.55),))
    return path


def test_the_router_is_scored_beside_its_baselines(data: Path) -> None:
    figures = {figure.name: figure for figure in ROUTE.run(BENCHMARKS.Settings(repetitions=1))}
    assert list(figures) == [
        "mmlu: APGR",
        "mmlu: APGR of a random order",
        "mmlu: APGR of the oracle",
        "mmlu: off a share of 30%, mean of seeds",
        "mmlu: off a share of 30% by thresholds that follow the traffic, mean of seeds",
        "mmlu: off a share of 30% with 200 labels, mean of seeds",
        "mmlu: Brier score of the difficulty",
        "mmlu: a decision, median",
    ]
    ranked = figures["mmlu: APGR"]
    assert (ranked.goal, ranked.peer) == (0.55, "prompt length alone")
    assert figures["mmlu: APGR of the oracle"].value >= ranked.value
    assert "100 rows held out" in ranked.note


def test_no_prompt_is_both_fitted_and_scored() -> None:
    rows = worlds.outcomes(200) * 2
    parts = ROUTE.split(rows, ROUTE.RouteSuite("mmlu", 90, 50, 0.5), 3)
    prompts = [{row.prompt for row in part} for part in parts]
    assert sum(map(len, parts)) == 400
    assert sum(map(len, prompts)) == len({row.prompt for row in rows})


def test_without_data_the_notes_name_the_folder_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    figures = list(ROUTE.run(BENCHMARKS.Settings()))
    assert [figure.holds for figure in figures] == [False, False]
    assert all("VANTA_BENCH_DATA" in figure.note for figure in figures)
