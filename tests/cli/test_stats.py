"""`vanta stats`, as a user meets it: figures of stored turns, in groups."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.cli.as_user import Run
from tests.runtime.home import open_scripted
from vanta import AllTracksFailed, ErrorKind
from vanta.cli.stats import Grouping, stats_rows
from vanta.testing import Fail, ScriptedEngine

PRICE: dict[str, Any] = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1000.0}
SECRET = "Zanzibarquay"


async def some_turns(folder: Path) -> None:
    """Store two answers of the api, one that fails, and one that local takes over."""
    replies = iter([["one two"], ["three"], [Fail(ErrorKind.BAD_REQUEST)], None])

    def api(_request: object) -> list[Any]:
        return next(replies) or ["four ", Fail(ErrorKind.NETWORK)]

    async with open_scripted(
        folder,
        api=ScriptedEngine(reply=api),
        local=ScriptedEngine("four five"),
        tracks={"api": PRICE},
    ) as runtime:
        session = runtime.session(SECRET)
        await session.ask(SECRET, track="api")
        await session.ask("hi", track="api")
        with pytest.raises(AllTracksFailed):
            await session.ask("hi", track="api")
        await session.ask("hi", policy="prefer")


def test_the_rows_have_wins_failures_tokens_and_cost(vanta: Run, tmp_path: Path) -> None:
    anyio.run(some_turns, tmp_path / "data")
    done = vanta("stats", "--json")
    assert done.code == 0, done.text
    report = done.json
    assert (report["turns"], report["answered"], report["takeovers"]) == (4, 3, 1)
    api, local = report["rows"]
    assert (api["name"], api["attempts"], api["won"], api["failed"]) == ("api", 4, 2, 2)
    assert api["output_tokens"] >= 4  # what broke off is estimated
    assert report["cost_usd"] == api["cost_usd"] == pytest.approx(api["output_tokens"] / 1000)
    assert 0 < api["first_content_p50_s"] <= api["first_content_p95_s"]
    assert (local["name"], local["attempts"], local["won"]) == ("local", 2, 1)
    assert SECRET not in done.text


def test_a_policy_counts_turns_and_csv_has_the_same_rows(vanta: Run, tmp_path: Path) -> None:
    anyio.run(some_turns, tmp_path / "data")
    rows = vanta("stats", "--json", "--by", "policy").json["rows"]
    assert {row["name"]: (row["attempts"], row["won"], row["failed"]) for row in rows} == {
        "track api": (3, 2, 1),
        "prefer": (1, 1, 0),
    }
    table = list(csv.DictReader(io.StringIO(vanta("stats", "--csv", "--by", "policy").out)))
    assert [row["name"] for row in table] == [row["name"] for row in rows]
    assert [float(row["cost_usd"]) for row in table] == [row["cost_usd"] for row in rows]


def test_the_table_has_a_headline_and_a_line_for_each_track(vanta: Run, tmp_path: Path) -> None:
    anyio.run(some_turns, tmp_path / "data")
    done = vanta("stats", "--since", "1h")
    assert done.code == 0
    for words in ("4 turns", "75.0% answered", "1 takeover ", "first text p50", "local"):
        assert words in done.text


def test_without_turns_the_next_step_is_named(vanta: Run) -> None:
    done = vanta("stats")
    assert (done.code, "`vanta ask` makes one" in done.text) == (0, True)
    assert vanta("stats", "--json").json["rows"] == []


@pytest.mark.parametrize("since", ["7", "x", "-1d", "1y", ""])
def test_a_time_that_is_none_is_refused(vanta: Run, since: str) -> None:
    done = vanta("stats", "--since", since)
    assert (done.code, "is not a time" in done.text) == (2, True)


def test_turns_before_the_time_do_not_count(vanta: Run, tmp_path: Path) -> None:
    anyio.run(some_turns, tmp_path / "data")
    assert vanta("stats", "--json", "--since", "0m").json["turns"] == 0
    assert vanta("stats", "--json", "--since", "all").json["turns"] == 4


def test_quantiles_are_interpolated_and_silent_legs_left_out() -> None:
    def leg(first: float | None, ended: float) -> dict[str, Any]:
        times = {"started_s": 1.0, "first_content_s": first, "ended_s": ended}
        return {"track": "api", "state": "won", "usage": None, "cost_usd": 0.0, **times}

    legs = [leg(1.1, 2.0), leg(1.3, 3.0), leg(None, 4.0)]
    (row,) = stats_rows([{"trace": {"policy": "api", "legs": legs}}], Grouping.TRACK)
    assert row.first_content_p50_s == pytest.approx(0.2)
    assert row.duration_p50_s == pytest.approx(2.0)
    assert row.duration_p95_s == pytest.approx(2.9)
