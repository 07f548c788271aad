"""The benchmark of the local engine, run through on a tiny model: what it tells is well-formed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.llamacpp.random_model import write_random_model
from vanta.cli.bench import PACKAGE, load_benchmarks

BENCHMARKS = load_benchmarks()
local: Any = importlib.import_module(f"{PACKAGE}.local")
local_peer: Any = importlib.import_module(f"{PACKAGE}.local_peer")
PROGRAM = """#!{python}
for width, rate in ((1, 100.0), (4, 200.0)):
    print('{{"pl": %d, "speed_tg": %f}}' % (width, rate))
print("llama_perf: done")
"""


@pytest.fixture
def path(smollm2_path: Path, tmp_path: Path) -> Path:
    """The tiny model."""
    return write_random_model(tmp_path / "random.gguf", smollm2_path)


def test_every_figure_is_taken_or_says_why_not(path: Path) -> None:
    """On a model that is no model, so goals do not matter here."""
    settings = BENCHMARKS.Settings(quick=True, repetitions=2)
    figures = anyio.run(local.measure, path, settings)
    told = BENCHMARKS.report("local", figures, quick=True)["figures"]
    assert len(told) > 12
    missing = [figure["name"] for figure in told if figure["value"] is None]
    assert missing == ["output, of llama-batched-bench"]
    values = {figure["name"]: figure["value"] for figure in told}
    assert values["tokens read for 16 sessions with one system prompt, of one reading"] < 1.1
    assert values["output at 16 conversations, of the peer's"] > 0


def test_llama_cpps_own_benchmark_is_asked_where_it_is_given(path: Path, tmp_path: Path) -> None:
    """Its tokens a second at each width against ours."""
    program = tmp_path / "llama-batched-bench"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    settings = BENCHMARKS.Settings(llama_bin=tmp_path)
    figures = list(local_peer.batched_bench(path, {1: 90.0, 4: 220.0}, settings))
    assert [round(figure.value, 2) for figure in figures] == [0.9, 1.1]
    assert [figure.holds for figure in figures] == [False, True]
