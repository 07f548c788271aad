"""The benchmark of tools on a few functions: shares, held-out questions, baselines, no data."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from vanta.cli.bench import load_benchmarks

BENCHMARKS = load_benchmarks()
RECALL: Any = importlib.import_module(f"{BENCHMARKS.__name__}.tools.recall")
QUESTIONS: Any = importlib.import_module(f"{BENCHMARKS.__name__}.tools.questions")
THINGS = ("heron", "otter", "badger", "lynx", "marten", "beaver")
DETAIL = {"type": "dict", "properties": {"type": {"type": "float", "description": "kind " * 90}}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tools = [
        {"name": f"{thing}.count", "description": f"Count each {thing}.", "parameters": DETAIL}
        for thing in THINGS
    ]
    queries = [
        *({"query": f"How many of {thing}?", "tools": [f"{thing}.count"]} for thing in THINGS),
        *(
            {"query": f"Count the lynx, and the {thing}", "tools": ["lynx.count", f"{thing}.count"]}
            for thing in THINGS[:2]
        ),
    ]
    path = tmp_path / "tool_recall_dev.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"tools": tools, "queries": queries}).encode()))
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(RECALL, "EVERY", 1)
    monkeypatch.setattr(RECALL, "GOALS", {150: (94.0, 80.0), 180: (89.0, 65.0)})
    return path


def test_each_budget_has_its_shares_beside_the_baselines(data: Path) -> None:
    figures = {figure.name: figure for figure in RECALL.figures(BENCHMARKS.Settings(quick=True))}
    for budget in (150, 180):
        for kind in ("one tool", "several tools"):
            ours = figures[f"recall: questions shown all they need within {budget} tokens, {kind}"]
            assert ours.value == 100.0
            assert ours.holds
            assert "by words alone (a quick run embeds nothing); held out 100.0" in ours.note
    whole = figures["recall: FTS5's bm25(), whole schemas, several tools at 180 tokens"]
    short = figures["recall: FTS5's bm25(), the same signatures, several tools at 180 tokens"]
    assert (whole.value, short.value) == (0.0, 100.0)
    assert figures["recall: time to rank all tools, median"].value > 0


def test_functions_of_the_data_become_tools_with_json_schemas(data: Path) -> None:
    read = QUESTIONS.read_data(data)
    assert read.tools[0].name == read.tools[0].tool.name == "heron_count"
    assert read.tools[0].tool.parameters == {
        "type": "object",
        "properties": {"type": {"type": "number", "description": "kind " * 90}},
    }
    assert [question.held_out for question in read.questions[:4]] == [False, True, False, True]
    assert [question.is_multiple for question in read.questions].count(True) == 2
    assert len(QUESTIONS.read_data(data, every=3).questions) == 3


def test_without_data_each_goal_names_the_folder_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    figures = list(RECALL.figures(BENCHMARKS.Settings()))
    assert len(figures) == 4
    assert {figure.value for figure in figures} == {None}
    assert all("set VANTA_BENCH_DATA to its folder" in figure.note for figure in figures)


def test_equal_calls_of_two_legs_are_raced_and_counted() -> None:
    part = importlib.import_module(f"{BENCHMARKS.__name__}.tools.shared_calls")
    (figure,) = part.figures(BENCHMARKS.Settings(repetitions=3))
    assert figure.value == 100.0
    assert figure.holds
    assert figure.note.startswith("3 races")


def test_agents_are_killed_and_their_calls_counted() -> None:
    part = importlib.import_module(f"{BENCHMARKS.__name__}.tools.kills")
    twice, reported = part.figures(BENCHMARKS.Settings(repetitions=2))
    assert twice.value == 0
    assert twice.holds
    assert "2 kills" in twice.note
    assert "0 lost" in reported.note
    assert reported.value in (None, 100.0)
