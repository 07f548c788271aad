"""`vanta spend`, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.cli.as_user import Run
from tests.money.ledgers import open_ledger, reserve


async def _spend(folder: Path) -> None:
    async with open_ledger(folder, day_usd=1) as ledger:
        await ledger.settle(await reserve(ledger, 0.25), 0.25)
        guessed = await reserve(ledger, 0.25, user="bob", track="big")
        await ledger.settle(guessed, 0.05, exact=False)
        await reserve(ledger, 0.125, session="open")


def test_json_has_every_sum_and_every_cap(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anyio.run(_spend, tmp_path / "data")
    monkeypatch.setenv("VANTA_BUDGET__DAY_USD", "0.5")
    done = vanta("spend", "--json")
    assert done.code == 0, done.text
    report = done.json
    assert set(report) == {
        *("day", "today", "total", "users", "sessions", "tracks"),
        *("overruns", "died", "caps"),
    }
    line = {"legs": 3, "spent_usd": 0.3, "reserved_usd": 0.125, "estimated_usd": 0.05}
    assert report["total"] == {"name": "all", **line}
    assert report["today"] == {"name": report["day"], **line}
    assert [(user["name"], user["spent_usd"]) for user in report["users"]] == [
        ("ada", 0.25),
        ("bob", 0.05),
    ]
    assert {track["name"] for track in report["tracks"]} == {"api", "big"}
    caps = {"turn_usd": None, "session_usd": None, "user_usd": None, "day_usd": 0.5}
    assert report["caps"] == caps


def test_the_table_names_users_sessions_tracks_and_the_cap(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anyio.run(_spend, tmp_path / "data")
    monkeypatch.setenv("VANTA_BUDGET__USER_USD", "2")
    done = vanta("spend")
    assert done.code == 0
    for words in ("user ada", "session bob/s", "track big", "$0.30", "$0.125"):
        assert words in done.text
    assert "cap of each user: $2 (budget.user_usd)" in done.text


def test_spending_nothing_without_a_cap_is_stated(vanta: Run) -> None:
    done = vanta("spend")
    assert done.code == 0
    assert "(UTC) $0 $0 $0 0" in done.text
    assert "No cap is set" in done.text


def test_the_leg_of_a_dead_process_is_settled_at_its_reservation_and_reported(
    vanta: Run, tmp_path: Path
) -> None:
    async def die() -> None:
        async with open_ledger(tmp_path / "data", day_usd=1) as ledger:
            await reserve(ledger, 0.5, lease_s=-1)

    anyio.run(die)
    done = vanta("spend", "--json")
    total = done.json["total"]
    assert (done.json["died"], total["reserved_usd"]) == (1, 0)
    assert (total["spent_usd"], total["estimated_usd"]) == (0.5, 0.5)
    assert "settled at their reservation: 1" in vanta("spend").text


def test_a_cap_is_reset_by_a_command(vanta: Run, tmp_path: Path) -> None:
    anyio.run(_spend, tmp_path / "data")
    whole = vanta("spend", "--json").json["total"]
    done = vanta("budget", "reset", "--user", "ada")
    assert done.code == 0, done.text
    assert "budget.user_usd of 'ada' counts from now on: $0.25 spent before" in done.text
    again = vanta("budget", "reset", "--user", "ada", "--session", "s", "--json").json
    assert again == {"scope": "session", "user": "ada", "session": "s", "uncounted_usd": 0.25}
    assert vanta("budget", "reset", "--user", "ada", "--json").json["uncounted_usd"] == 0
    assert vanta("budget", "reset", "--user", "stranger", "--json").json["uncounted_usd"] == 0
    assert vanta("spend", "--json").json["total"] == whole, "the books stay as they are"


def test_a_reset_needs_a_name(vanta: Run) -> None:
    done = vanta("budget", "reset")
    assert done.code == 2
    assert "--user NAME" in done.err


def test_a_store_that_cannot_be_opened_ends_in_3(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.db").write_text("no database", encoding="utf-8")
    monkeypatch.setenv("VANTA_STORE_URL", f"sqlite:///{tmp_path / 'bad.db'}")
    done = vanta("spend")
    assert (done.code, done.out) == (3, "")
    assert "not a database" in done.err
