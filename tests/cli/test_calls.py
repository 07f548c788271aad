"""`vanta calls` and `vanta approvals`, as a person meets them."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.cli.as_user import Run
from tests.tools.calls import offer, open_journal, record
from vanta.money import Owner, this_process
from vanta.storage import Store, sqlite_url
from vanta.tools import Approvals, CallRecord

DEAD = Owner(this_process().host, "999999999:1")


@pytest.fixture
def calls(tmp_path: Path) -> tuple[CallRecord, CallRecord]:
    """A call that ended, and one whose process is gone."""
    ended, lost = record(key="a" * 32), record(key="b" * 32, session="s2", private=True)

    async def make() -> None:
        async with open_journal(tmp_path / "data", owner=DEAD) as journal:
            await journal.begin(ended)
            await journal.finish(ended.key, '{"text": "written"}')
            await journal.begin(lost)

    anyio.run(make)
    return ended, lost


def test_calls_are_listed_with_their_state(
    vanta: Run, calls: tuple[CallRecord, CallRecord]
) -> None:
    done = vanta("calls", "list")
    assert done.code == 0, done.text
    first, second = done.out.splitlines()[1:3]
    assert "aaaaaaaaaaaa" in first
    assert "files.write" in first
    assert "finished" in first
    assert "ada/s2 (private)" in second
    assert "unknown" in second
    assert "vanta calls resolve bbbbbbbbbbbb done|not-done" in done.text
    listed = vanta("calls", "list", "--session", "s1", "--json").json
    assert [call["key"] for call in listed] == [calls[0].key]
    listed = vanta("calls", "list", "--state", "unknown", "--json").json
    assert [(call["key"], call["state"]) for call in listed] == [(calls[1].key, "unknown")]
    assert "No such call" in vanta("calls", "list", "--user", "bob").text


def test_a_call_is_shown_with_arguments_and_result(
    vanta: Run, calls: tuple[CallRecord, CallRecord]
) -> None:
    done = vanta("calls", "show", "aaaa")
    assert done.code == 0, done.text
    for words in ("files.write (write)", '{"path": "docs/a"}', '{"text": "written"}', "ada/s1"):
        assert words in done.out
    assert vanta("calls", "show", "b", "--json").json["state"] == "unknown"
    assert "may have taken effect or not" in vanta("calls", "show", "b").text


def test_an_unknown_call_is_settled_once(vanta: Run, calls: tuple[CallRecord, CallRecord]) -> None:
    done = vanta("calls", "resolve", "bbbb", "not-done")
    assert done.code == 0, done.text
    assert "a person found out that it was not done" in done.out
    assert vanta("calls", "show", "b", "--json").json["outcome"] == "not done"
    again = vanta("calls", "resolve", "bbbb", "done")
    assert again.code == 1
    assert "it is resolved" in again.text
    ended = vanta("calls", "resolve", "aaaa", "done")
    assert "it is finished" in ended.text


def test_an_unknown_or_ambiguous_key_is_an_error(vanta: Run, tmp_path: Path) -> None:
    async def make() -> None:
        async with open_journal(tmp_path / "data") as journal:
            await journal.request(record(key="ab" * 16), record(key="ac" * 16))

    anyio.run(make)
    missing = vanta("calls", "show", "zz")
    assert missing.code == 2
    assert "no call begins with 'zz'" in missing.text
    assert "more than one call begins with 'a'" in vanta("calls", "show", "a").text


def test_an_approval_is_listed_and_revoked(vanta: Run, tmp_path: Path) -> None:
    async def make() -> str:
        store = Store.open(sqlite_url(tmp_path / "data"))
        held = Approvals(store)
        approval = await held.add(offer("files.write", "path"), user="ada", session=None)
        rule = "files.write(docs/**)"
        await held.add(offer("files.write", "path"), user="bob", session="s1", pattern=rule)
        await store.aclose()
        return approval.id

    key = anyio.run(make)
    done = vanta("approvals", "list")
    assert done.code == 0, done.text
    assert "ada/(all sessions)" in done.out
    assert "files.write(docs/**)" in done.out
    assert len(vanta("approvals", "list", "--user", "bob", "--json").json["standing"]) == 1
    done = vanta("approvals", "revoke", key[:16])
    assert done.code == 0, done.text
    assert "files.write asks 'ada' again" in done.out
    assert "no approval begins with" in vanta("approvals", "revoke", key).text
    assert vanta("approvals", "list", "--json").json["pending"] == []
    assert len(vanta("approvals", "list", "--json").json["standing"]) == 1
