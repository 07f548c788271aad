"""The LoCoMo benchmark on invented conversations: bad evidence, held-out weights, baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vanta.cli.bench import load_benchmarks

BENCHMARKS = load_benchmarks()
LOCOMO: Any = BENCHMARKS.load("memory.locomo")
QUICK = BENCHMARKS.Settings(quick=True)
PETS = ("heron", "otter", "badger", "lynx")


def conversation(name: str, friend: str) -> dict[str, Any]:
    """Return four sessions; in the second turn of each, a friend has seen another animal."""
    turns: dict[str, Any] = {"speaker_a": "Ann", "speaker_b": friend}
    for number, animal in enumerate(PETS, start=1):
        turns[f"session_{number}_date_time"] = f"1:0{number} pm on {number} May, 2023"
        texts = (f"Any news, {friend}?", f"I saw a {animal} yesterday.", "How nice, I saw rain.")
        turns[f"session_{number}"] = [
            {"speaker": speaker, "dia_id": f"D{number}:{turn}", "text": text}
            for turn, (speaker, text) in enumerate(
                zip(("Ann", friend, "Ann"), texts, strict=True), start=1
            )
        ]
    questions = [
        {"question": f"When did {friend} see a {animal}?", "evidence": [f"D:{n}:02"], "category": 2}
        for n, animal in enumerate(PETS, start=1)
    ]
    both = {"question": "A heron or an otter?", "evidence": ["D1:2; D2:2"], "category": 1}
    none = {"question": "Who?", "evidence": [], "category": 3}
    trick = {"question": "Did Ann see a lynx?", "evidence": ["D4:2"], "category": 5}
    return {"sample_id": name, "conversation": turns, "qa": [*questions, both, none, trick]}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "locomo_dev.json"
    path.write_text(json.dumps([conversation("one", "Eve"), conversation("two", "Bob")]))
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(LOCOMO, "GOALS", {50: 78.0, 1024: 85.0})
    return path


def test_evidence_is_recalled_by_words_beside_its_baselines(data: Path) -> None:
    figures = {figure.name: figure for figure in LOCOMO.figures(QUICK)}
    named, unnamed = "locomo, names in the texts", "locomo, user and assistant"
    for form in (named, unnamed):
        ours = figures[f"{form}: by words alone, held out, at 1024 tokens"]
        assert ours.value == 100.0
        assert "category 1 100.0, category 2 100.0" in ours.note
    recent = figures[f"{named}: the most recent turns, at 50 tokens"]
    assert 0.0 < recent.value < figures[f"{named}: FTS5's bm25() alone, at 50 tokens"].value
    missed = figures[f"{unnamed}: evidence recalled at 1024 tokens"]
    assert (missed.value, missed.holds) == (None, False)
    assert "embeds nothing" in missed.note


@pytest.mark.anyio
async def test_names_are_in_the_texts_or_nowhere(tmp_path: Path) -> None:
    conversations: Any = BENCHMARKS.load("memory.conversations")
    texts = {}
    for name, form in conversations.FORMS.items():
        folder = tmp_path / name
        rows = [conversation("one", "Eve")]
        dialogues = await conversations.open_dialogues(QUICK, rows, folder, form)
        texts[name] = [(item.role, item.text) for item in dialogues[0].items.values()][:2]
        await conversations.close_dialogues(dialogues)
    assert texts == {
        "names in the texts": [
            ("user", "Ann: Any news, Eve?"),
            ("assistant", "Eve: I saw a heron yesterday."),
        ],
        "user and assistant": [
            ("user", "Any news, Eve?"),
            ("assistant", "I saw a heron yesterday."),
        ],
    }


def test_missing_data_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VANTA_BENCH_DATA", str(tmp_path))
    figures = LOCOMO.figures(QUICK)
    assert figures
    assert all(figure.value is None and "locomo_dev.json" in figure.note for figure in figures)


def test_a_fit_finds_the_feature_of_the_evidence(data: Path) -> None:
    fitting: Any = BENCHMARKS.load("memory.weights")
    rows = [{"words": float(n == 1), "length": 0.5, "recency": 0.0} for n in range(3)]
    weights = fitting.fit([fitting.LabelledQuestion([7, 8, 9], rows, {8})] * 5, list(rows[0]))
    assert weights["words"] > 1.0
    assert abs(weights["length"]) < 1e-6
    assert weights["recency"] == fitting.RECENCY
