"""A quick run of each benchmark: every figure with a goal has a value, and nothing leaks."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from vanta.cli.bench import PACKAGE, load_benchmarks

BENCHMARKS = load_benchmarks()

ELSEWHERE = {
    "local": "test_local.py, on a tiny model",
    "memory": "test_memory_locomo.py, on tiny data; its other parts take minutes",
    "overhead": "test_runs.py",
    "race": "test_runs.py",
}
"""Benchmarks whose short run is a test of its own."""

PARTS = {"faults": ("broken_answers", "streams", "privacy")}
"""Parts of a benchmark that are run here; test_faults.py runs the other one of the faults."""

EXCUSES = ("set VANTA_BENCH_DATA to its folder", "a quick run embeds nothing")
"""Notes of figures that need data that no checkout has, or minutes."""


def without_value(figures: list[Any]) -> list[str]:
    """Return the figures that have a goal and no value, and no excuse."""
    return [
        f"{figure.name}: {figure.note}"
        for figure in figures
        if figure.goal is not None
        and figure.value is None
        and not any(excuse in figure.note for excuse in EXCUSES)
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in BENCHMARKS.BENCHMARKS if name not in ELSEWHERE])
def test_every_figure_with_a_goal_has_a_value_and_nothing_leaks(
    name: str, smollm2_path: Path
) -> None:
    settings = BENCHMARKS.Settings(quick=True, repetitions=1, parts=PARTS.get(name, ()))
    figures = list(BENCHMARKS.load(name).run(settings))
    assert figures
    assert without_value(figures) == []
    assert {
        figure.name: figure.note for figure in figures if figure.unit == "leaks" and figure.value
    } == {}


def test_a_lost_figure_is_found() -> None:
    def figure(**values: Any) -> Any:
        return BENCHMARKS.Figure(
            **{"name": "x", "unit": "ms", "value": None, "goal": 1.0, **values}
        )

    assert without_value([figure(note="300 of 300 had no answer")])
    assert not without_value([figure(note="", value=2.0), figure(note="no peer", goal=None)])
    assert not without_value([figure(note=f"'x.csv' does not exist: {EXCUSES[0]}")])


def test_benchmarks_that_are_run_elsewhere_exist() -> None:
    assert set(ELSEWHERE) < set(BENCHMARKS.BENCHMARKS)
    folder = Path(__file__).parent
    assert all((folder / where.split(",")[0]).is_file() for where in ELSEWHERE.values())


def test_the_parts_that_are_run_here_exist() -> None:
    faults = BENCHMARKS.load("faults")
    assert set(faults.PARTS) - set(PARTS["faults"]) == {"project_folder"}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Anna lives in Lisbon.", True),
        ("lisbon", True),
        ("Lisbonne", False),
        ("The user asked: What was said before:\nMy sister Anna lives in Lisbon.", False),
        ("<notes>\nMy sister Anna lives in Lisbon.\n</notes>", False),
        ("The user says that Anna lives in Lisbon.", False),
    ],
)
def test_an_answer_that_recites_its_prompt_is_wrong(answer: str, right: bool) -> None:
    questions = importlib.import_module(f"{PACKAGE}.first.questions")
    question = questions.SimpleQuestion("Where does Anna live?", ("Lisbon",))
    assert question.is_right(answer) is right
