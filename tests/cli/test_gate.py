"""`vanta gate fit`, as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.as_user import Run, user
from tests.routing import worlds
from vanta.routing import CalibratedGate, signals
from vanta_tuning.commands.curves import drawn
from vanta_tuning.fitting import Bin


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    lines = [
        json.dumps(
            {
                "text": one.answer.text,
                "logprobs": [token.logprob for token in one.answer.logprobs],
                "finish_reason": one.answer.finish_reason,
                "right": one.right,
                "verifier_yes": 0.97 if one.right else 0.4,
            }
        )
        for one in worlds.answers(200)
    ]
    (tmp_path / "words.jsonl").write_text("\n".join(lines))
    silent = [
        json.dumps({key: value for key, value in json.loads(line).items() if key != "verifier_yes"})
        for line in lines
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(silent))
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


def test_a_gate_is_fitted_and_its_reliability_drawn(vanta: Run, tmp_path: Path) -> None:
    done = vanta("gate", "fit", "answers.jsonl", "--out", "gate.json")
    assert done.code == 0, done.err
    for words in ("wrote gate.json: 200 answers, Platt curve", "was right", "100% |", "predicted"):
        assert words in done.text
    judge = CalibratedGate(tmp_path / "gate.json")
    told = [judge.probability(signals(worlds.answer([x] * 30))) for x in (-0.1, -2.0)]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0] > told[1]


def test_json_has_the_reliability_curve(vanta: Run) -> None:
    told = vanta("gate", "fit", "answers.jsonl", "-o", "gate.json", "--json").json
    assert (told["rows"], told["curve"]) == (200, "Platt")
    assert told["auroc"] > 0.7
    assert told["ece"] < 0.15
    assert sum(one["rows"] for one in told["reliability"]) == 200


def test_a_verifiers_words_give_limits_for_shares_of_escalations(vanta: Run) -> None:
    done = vanta("gate", "fit", "words.jsonl", "--out", "gate.json")
    assert done.code == 0, done.err
    for words in ("min_probability", "the verifier's word on 200 answers", "verify_limit"):
        assert words in done.text
    report = vanta("gate", "fit", "words.jsonl", "-o", "gate.json", "--json").json
    assert report["verifier"]["auroc"] > report["verifier"]["auroc_of_gate"]
    shares = [item["escalated"] for item in report["verifier"]["limits"]]
    assert shares == sorted(shares)
    assert vanta("gate", "fit", "answers.jsonl", "-o", "g.json", "--json").json["verifier"] is None


def test_the_drawing_puts_each_bin_where_it_lies() -> None:
    lines = drawn((Bin(0.0, 0.1, 5, 0.0, 1.0), Bin(0.9, 1.0, 5, 1.0, 0.0)))
    assert lines[0].startswith("100% |o")
    assert lines[10].rstrip().endswith("o")
    assert "o" not in "".join(lines[1:10])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "line 1: 'right' must be true or false"),
        ('{"text": "a", "right": true}', "1 answers, 1 of them right, are too few"),
        ("nonsense", "line 1 is not JSON"),
        ('{"text": "a", "right": true, "verifier_yes": 7}', "'verifier_yes' must be between"),
    ],
)
def test_a_mistake_is_a_sentence_and_the_code_for_usage(
    vanta: Run, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    done = vanta("gate", "fit", "bad.jsonl", "-o", "gate.json")
    assert (done.code, done.out) == (2, "")
    assert said in done.text
    assert not (tmp_path / "gate.json").exists()
