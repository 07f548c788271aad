"""Tables are read in the public shapes and in vanta's own; errors name their position."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from vanta.errors import ErrorKind, UsageError
from vanta_tuning.replay.recordings import Play
from vanta_tuning.replay.shapes import arrivals, pools, sketches
from vanta_tuning.replay.sketches import Known
from vanta_tuning.replay.tables import read_table

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(*lines: str, name: str = "data.csv") -> Path:
        path = tmp_path / name
        data = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return to_file


def test_columns_named_as_the_fields_need_no_mapping(write: Write) -> None:
    path = write(
        "id,local.ttft_s,local.total_s,local.score,api.ttft_s,api.total_s,api.error,note",
        "a,0.2,1.5,1,0.5,0.5,rate_limited,x",
        "b,0.25,1.25,,0.5,2,,y",
    )
    first, second = sketches(read_table(path))
    assert (first.id, second.id) == ("a", "b")
    assert first.tracks["local"] == Known(0.2, 1.5, score=1.0)
    assert first.tracks["api"] == Known(0.5, 0.5, error=ErrorKind.RATE_LIMITED)
    assert second.tracks["api"] == Known(0.5, 2.0)


def test_columns_can_be_mapped(write: Write) -> None:
    path = write("first,whole,right", "0.5,2,1")
    columns = {"api.ttft_s": "first", "api.total_s": "whole", "api.score": "right"}
    (sketch,) = sketches(read_table(path), columns)
    assert sketch.tracks == {"api": Known(0.5, 2.0, score=1.0)}


def test_routellm_outcomes_are_known_by_their_columns(write: Write) -> None:
    path = write(
        "bench,subject,prompt,weak_correct,strong_correct,weak_resp_chars,strong_resp_chars",
        'mmlu,law,"Who, then?",0,1,,',
        name="outcomes.csv.gz",
    )
    (sketch,) = sketches(read_table(path))
    assert sketch.text == "Who, then?"
    assert sketch.tracks == {"local": Known(score=0.0), "api": Known(score=1.0)}


LLMPERF = "provider,model,i,error_code,ttft_s,e2e_s,itl_s,in_tokens,out_tokens"


def test_llmperf_measurements_are_known_by_their_columns(write: Write) -> None:
    path = write(
        LLMPERF,
        "p,7b,0,0,0.5,2.5,0.01,550,150",
        "p,7b,1,429,,,,550,0",
        "p,70b,0,-100,0.8,1.7,1.7,550,39",
        "p,70b,1,0,,,,550,",
    )
    assert pools(read_table(path)) == {
        "p/7b": [
            Play(0.5, 2.5, 550, 150),
            Play(0.0, 0.0, 550, 0, error=ErrorKind.RATE_LIMITED, speaks=False),
        ],
        "p/70b": [Play(1.7, 1.7, 550, 39, error=ErrorKind.SERVER, speaks=False)],
    }


def test_azure_arrivals_are_known_by_their_columns(write: Write) -> None:
    path = write(
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:15:50.6805900,396,109",
        "2023-11-16 18:15:46.1805900,374,44",
    )
    table = read_table(path)
    assert arrivals(table) == pytest.approx([0.0, 4.5])
    first, second = sketches(table)
    assert [first.arrives_s, second.arrives_s] == pytest.approx([0.0, 4.5])
    assert first.tracks["api"] == Known(input_tokens=374, output_tokens=44)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["local.ttft_s,local.total_s", "0.2,fast"], r"line 2: column 'local.total_s' has 'fast'"),
        (["local.ttft_s,local.total_s", "-1,2"], "line 2: column 'local.ttft_s' has '-1', 0 or mo"),
        (["local.ttft_s,local.total_s", "nan,2"], "'nan', a finite number was expected"),
        (["local.ttft_s,local.total_s", "3,2"], r"line 2: the answer ends \(2 s\) before it begin"),
        (["local.ttft_s,local.score", "1,7"], "has '7', a score of 0 to 1 was expected"),
        (["local.ttft_s,local.score", "1"], "line 2: 1 cells, 2 columns were expected"),
        (["a,b", "1,2"], "no column belongs to a track. Name columns like 'local.score'"),
        (["arrives_s,local.score", "soon,1"], "'soon', seconds, or a date and time like"),
        (["local.ttft_s,local.score"], "has no table with rows"),
        ([""], "has no table with rows"),
    ],
)
def test_a_broken_table_is_refused_with_the_place(
    write: Write, lines: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sketches(read_table(write(*lines)))


def test_a_file_that_cannot_be_read_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not exist. Give the path"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory|cannot be read"):
        read_table(tmp_path)
    bad = tmp_path / "bad.csv.gz"
    bad.write_bytes(b"no gzip")
    with pytest.raises(UsageError, match="cannot be read: Not a gzipped file"):
        read_table(bad)
    binary = tmp_path / "bad.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_table(binary)


def test_a_mapping_to_nothing_is_refused(write: Write) -> None:
    table = read_table(write("a,b", "1,2"))
    with pytest.raises(UsageError, match=r"has no column 'c'. It has: a, b"):
        sketches(table, {"api.score": "c"})
    with pytest.raises(UsageError, match=r"no field is named 'api.speed'. Fields: id,"):
        sketches(table, {"api.speed": "a"})
