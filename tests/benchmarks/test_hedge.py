"""The hedge benchmark: a second call cuts the tails, and missing data is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vanta.cli.bench import load_benchmarks

BENCHMARKS = load_benchmarks()
hedge: Any = BENCHMARKS.load("hedge")

HEAD = "provider,model,i,error_code,ttft_s,e2e_s,itl_s,in_tokens,out_tokens"


def _row(server: str, number: int, usual_s: float) -> str:
    """Return a request; one in fifty takes twenty times as long, and one in ninety fails."""
    ttft_s = usual_s * (20 if number % 50 == 7 else 1 + number * 37 % 101 / 300)
    return f"{server},m,{number},{-(number % 90 == 3)},{ttft_s},{ttft_s + 1},0.01,500,100"


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    rows = [
        _row(name, n, usual_s) for name, usual_s in (("a", 0.2), ("b", 1.0)) for n in range(150)
    ]
    (tmp_path / "llmperf_latency.csv").write_text("\n".join([HEAD, *rows]))
    monkeypatch.setattr(hedge, "FILE", "llmperf_latency.csv")
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    return {figure.name: figure for figure in hedge.run(BENCHMARKS.Settings(repetitions=2))}


def test_a_learned_delay_cuts_the_tail_within_its_cap(figures: dict[str, Any]) -> None:
    learned = figures["p99 cut, learned delay"]
    assert learned.value > 40
    assert learned.value > figures["p99 cut, static p95"].value
    assert figures["extra calls, learned delay"].holds


def test_the_independent_figure_is_marked_as_overstated(figures: dict[str, Any]) -> None:
    independent = figures["p99 cut, learned delay, if the two calls were independent"]
    assert independent.note.startswith("Overstates: ")


def test_without_data_the_note_names_the_folder_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    (figure,) = hedge.run(BENCHMARKS.Settings(quick=True))
    assert figure.value is None
    assert not figure.holds
    assert "set VANTA_BENCH_DATA to its folder" in figure.note
