"""Recorded outcomes: read whole, or refused with the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from vanta.errors import UsageError
from vanta.messages import TokenLogprob
from vanta_tuning.fitting import OutcomeRow, read_answers, read_outcomes

TABLE = 'bench,prompt,weak_correct,strong_correct\nm,"two\nlines",1,0\ng,plain,false,0.5\n'
LINES = '{"prompt": "a", "ours": true, "theirs": 1}\n\n{"prompt": "b", "ours": 0, "theirs": 0}\n'


def test_a_table_is_read_plain_and_gzipped(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "a.csv", tmp_path / "a.csv.gz"
    plain.write_text(TABLE)
    zipped.write_bytes(gzip.compress(TABLE.encode()))
    expected = [OutcomeRow("two\nlines", 1.0, 0.0), OutcomeRow("plain", 0.0, 0.5)]
    assert read_outcomes(plain) == read_outcomes(zipped) == expected
    assert [row.gain for row in expected] == [-1.0, 0.5]
    assert read_outcomes(plain, where={"bench": "g"}) == expected[1:]


def test_json_lines_are_read_with_columns_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(LINES)
    rows = read_outcomes(path, weak="ours", strong="theirs")
    assert rows == [OutcomeRow("a", 1.0, 1.0), OutcomeRow("b", 0.0, 0.0)]
    alone = read_outcomes(path, weak="ours", strong=None)
    assert [row.strong for row in alone] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "prompt,weak_correct\nhello,1\n", "line 2: there is no 'strong_correct'"),
        ("a.csv", "prompt,weak_correct,strong_correct\nhello,2,1\n", "line 2: 'weak_correct'"),
        ("a.csv", "prompt,weak_correct,strong_correct\nhello,nan,1\n", "not 'nan'"),
        ("a.csv", "prompt,weak_correct,strong_correct\nhello,1\n", "no 'strong_correct'"),
        ("a.csv", 'prompt,weak_correct,strong_correct\n"hello', "cannot be read"),
        ("a.csv.gz", "no gzip", "cannot be read"),
        ("a.jsonl", '{"prompt": 7, "weak_correct": 1, "strong_correct": 1}', "must be text"),
        ("a.jsonl", "{}\n", "line 1: there is no"),
        ("a.jsonl", "\n[1]\n", "line 2 is not a JSON object"),
        ("a.jsonl", '\n\n{"prompt": ', "line 3 is not JSON"),
        ("a.jsonl", "[" * 100_000, "is not JSON"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, name: str, text: str, why: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=why):
        read_outcomes(path)


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(UsageError, match=r"a\.csv.*cannot be read"):
        read_outcomes(path)
    path.write_bytes(b"prompt\n\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        read_outcomes(path)


def test_an_answer_is_read_with_what_the_gate_looks_at(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "Four.", "logprobs": [-0.5, 0], "finish_reason": "length", "right": true}\n'
        '{"text": "", "right": false, "more": "is ignored"}\n'
    )
    first, second = read_answers(path)
    assert first.right
    assert first.answer.logprobs == (TokenLogprob("", -0.5), TokenLogprob("", 0.0))
    assert (first.answer.text, first.answer.finish_reason) == ("Four.", "length")
    assert not second.right
    assert second.answer.logprobs == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"text": "a"}', "'right' must be true or false"),
        ('{"text": "a", "right": 1}', "'right' must be true or false"),
        ('{"right": true}', "there is no 'text'"),
        ('{"text": "a", "right": true, "logprobs": [0.5]}', "none above 0"),
        ('{"text": "a", "right": true, "logprobs": [-Infinity]}', "none above 0"),
        ('{"text": "a", "right": true, "logprobs": ["b"]}', "none above 0"),
        ('{"text": "a", "right": true, "finish_reason": "bored"}', "'bored'"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line)
    with pytest.raises(UsageError, match=f"line 1.*{why}"):
        read_answers(path)
