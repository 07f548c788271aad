"""A few repetitions of each benchmark: every figure is measured. No test depends on its size."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from vanta import install_hint
from vanta.cli.bench import PACKAGE, load_benchmarks

BENCHMARKS = load_benchmarks()
TRAPS = ("headers first", "fails late", "silent prompt")


def measure(name: str, **settings: Any) -> dict[str, Any]:
    """Return the figures of a short run by name, after checks of every figure."""
    taken = BENCHMARKS.load(name).run(BENCHMARKS.Settings(repetitions=2, **settings))
    rows = BENCHMARKS.report(name, taken, quick=False)["figures"]
    for figure in rows:
        assert figure["value"] is not None or (figure["holds"] is False and figure["note"]), figure
        assert figure["peer"] is not None or figure["peer_value"] is None, figure
    figures = {figure["name"]: figure for figure in rows}
    assert len(figures) == len(rows)
    return figures


def test_overhead_measures_all_its_figures_without_a_peer() -> None:
    figures = measure("overhead")
    assert list(figures) == [
        "turn over the bare engine, median",
        "turn over the bare engine, p99",
        "turn over the bare engine, memory on, median",
        "turn over the bare engine, memory on, p99",
        "what memory adds to a turn, median",
        "the same with a store in memory, median",
        "the bare engine, median",
        "import vanta, median",
        "vanta --help, median",
        "python -c pass, median",
    ]
    assert all(figure["value"] is not None for figure in figures.values())
    turn = figures["turn over the bare engine, median"]
    assert (turn["goal"], turn["peer"]) == (0.7, None)
    assert "--peer-python" in turn["note"]
    recalling = figures["turn over the bare engine, memory on, median"]
    assert recalling["goal"] == pytest.approx(2.7)
    assert figures["what memory adds to a turn, median"]["goal"] == 2.0
    assert figures["import vanta, median"]["goal"] == 150
    assert figures["vanta --help, median"]["goal"] == 400


@pytest.mark.parametrize(("goal", "holds"), [(0.0, False), (1e9, True)])
def test_a_turn_that_takes_too_long_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, goal: float, holds: bool
) -> None:
    monkeypatch.setattr(BENCHMARKS.load("overhead"), "TURN_GOAL_MS", goal)
    assert measure("overhead")["turn over the bare engine, median"]["holds"] is holds


def test_a_program_that_fails_leaves_a_figure_without_a_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overhead: Any = BENCHMARKS.load("overhead")
    monkeypatch.setitem(overhead.PROGRAMS, "help", "import no_such_module_anywhere")
    figure = measure("overhead")["vanta --help, median"]
    assert (figure["value"], figure["holds"]) == (None, False)
    assert "no_such_module_anywhere" in figure["note"]


def test_a_peer_that_answers_is_in_the_figures(tmp_path: Path) -> None:
    peer = program(tmp_path, 'echo \'{"version": "9.9", "seconds": [0.002, 0.004]}\'')
    figure = measure("overhead", peer_python=peer)["turn over the bare engine, median"]
    assert figure["peer"].startswith("litellm 9.9")
    assert figure["peer_value"] == 2.0


def test_a_broken_peer_is_reported_and_does_not_fail_the_figure(tmp_path: Path) -> None:
    peer = program(tmp_path, "echo 'it is broken' >&2; exit 1")
    figure = measure("overhead", peer_python=peer)["turn over the bare engine, median"]
    assert (figure["peer"], figure["value"] is not None) == (None, True)
    assert "it is broken" in figure["note"]


def test_race_measures_all_its_figures_and_leaks_nothing() -> None:
    steps: list[str] = []
    figures = measure("race", progress=lambda step, _done, _total: steps.append(step))
    assert list(dict.fromkeys(steps)) == [*TRAPS, "sprint"]
    for trap in TRAPS:
        assert figures[f"{trap}: first content over the ideal, p99"]["goal"] == 10
        assert figures[f"{trap}: races answered by the right leg"]["goal"] == 2
    without_value = [
        name
        for name, figure in figures.items()
        if figure["goal"] is not None and figure["value"] is None
    ]
    assert without_value == []
    closed = [figure for name, figure in figures.items() if "loser's connection" in name]
    assert [figure["goal"] for figure in closed] == [50, 50]
    assert figures["fails late: races answered by the right leg"]["peer_value"] == 0
    for resource in ("tasks", "threads", "sockets"):
        assert (figures[f"{resource} left"]["value"], figures[f"{resource} left"]["goal"]) == (0, 0)


def test_a_server_that_ends_on_its_own_is_reported_by_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "upstreams.py"
    broken.write_text("raise SystemExit(3)")
    monkeypatch.setattr(importlib.import_module(f"{PACKAGE}.servers"), "PROGRAM", broken)
    figures = measure("race")
    assert len(figures) == 17
    for figure in figures.values():
        assert figure["holds"] is False
        assert "ended on their own" in figure["note"]


def test_a_missing_library_is_reported_by_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    figures = measure("race")
    assert len(figures) == 17
    assert all(install_hint("openai", "testing") in figure["note"] for figure in figures.values())


def program(folder: Path, script: str) -> Path:
    """Write a program that replaces the interpreter."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
