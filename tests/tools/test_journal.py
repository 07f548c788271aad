"""The journal lets a write call start once, and keeps what happened to every call."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import anyio
import pytest

from tests.tools.calls import offer, open_journal, record
from vanta import CallStateError, StoreError, UsageError
from vanta.money import Owner, this_process
from vanta.storage import Store, sqlite_url, store_waits_until
from vanta.tools import CallRecord, CallState, Journal, digest_of, tool_digest

pytestmark = pytest.mark.anyio

DEAD = Owner(this_process().host, "999999999:1")
ELSEWHERE = Owner("elsewhere", "1:1")


async def state_of(journal: Journal, entry: CallRecord) -> CallState:
    (call,) = await journal.list(key=entry.key)
    return call.state


async def test_a_call_is_requested_approved_started_and_finished(tmp_path: Path) -> None:
    times = iter([10.0, 20.0, 30.0])
    async with open_journal(tmp_path, clock=lambda: next(times)) as journal:
        entry = record()
        await journal.request(entry)
        await journal.approve(entry.key, "tools.allow 'files.*'")
        await journal.start(entry.key)
        await journal.finish(entry.key, '{"text": "ok"}')
        (call,) = await journal.list()
    assert (call.state, call.reason, call.attempts) == ("finished", "tools.allow 'files.*'", 1)
    assert (call.requested_at, call.started_at, call.ended_at) == (10.0, 20.0, 30.0)
    assert (call.result, call.name, call.note) == ('{"text": "ok"}', "files.write", "")


async def test_a_call_of_a_rule_that_allows_begins_in_one_step(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        entry = record()
        await journal.begin(entry)
        (call,) = await journal.list(states=["started"])
        assert (call.key, call.attempts, call.started_at) == (entry.key, 1, call.requested_at)
        with pytest.raises(CallStateError):
            await journal.start(entry.key)


async def test_of_many_that_start_one_call_one_succeeds(tmp_path: Path) -> None:
    started: list[Journal] = []
    refused: list[CallStateError] = []

    async def start(journal: Journal, key: str) -> None:
        try:
            await journal.start(key)
            started.append(journal)
        except CallStateError as error:
            refused.append(error)

    async with open_journal(tmp_path) as one, open_journal(tmp_path) as other:
        entry = record()
        await one.request(entry)
        async with anyio.create_task_group() as tasks:
            for journal in [one, other] * 10:
                tasks.start_soon(start, journal, entry.key)
        assert (len(started), len(refused)) == (1, 19)
        assert {error.state for error in refused} == {"started"}
        assert entry.key in str(refused[0])
        assert "it is started" in str(refused[0])


@pytest.mark.parametrize("effect", ["read", "idempotent", "write"])
async def test_an_abandoned_call_is_unknown_and_repeated_only_if_that_changes_nothing(
    tmp_path: Path, effect: str
) -> None:
    entry = record(effect=effect)
    async with open_journal(tmp_path, owner=DEAD) as journal:
        await journal.begin(entry)
    async with open_journal(tmp_path) as journal:
        (call,) = await journal.abandoned()
        assert (call.key, call.state) == (entry.key, "unknown")
        assert "may have taken effect" in call.note
        assert await journal.abandoned() == []
        if effect == "write":
            with pytest.raises(CallStateError, match="it is unknown"):
                await journal.start(entry.key)
        else:
            await journal.start(entry.key)
            (call,) = await journal.list()
            assert (call.state, call.attempts, call.key) == ("started", 2, entry.key)


async def test_a_call_of_a_living_process_is_not_abandoned(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_journal(tmp_path, owner=DEAD) as other:
        entry = record()
        await journal.begin(entry, lease_s=0)
        assert await other.abandoned() == []
        assert await state_of(journal, entry) == "started"


async def test_a_call_of_another_host_is_abandoned_when_its_lease_is_over(tmp_path: Path) -> None:
    now = [100.0]
    async with (
        open_journal(tmp_path, owner=ELSEWHERE, clock=lambda: now[0]) as far,
        open_journal(tmp_path, clock=lambda: now[0]) as journal,
    ):
        entry = record()
        await far.begin(entry, lease_s=60)
        now[0] = 159.0
        assert await journal.abandoned() == []
        now[0] = 161.0
        assert [call.key for call in await journal.abandoned()] == [entry.key]
        await far.finish(entry.key, '"late, but true"')
        assert await state_of(journal, entry) == "finished"


async def test_what_was_only_requested_is_not_unknown(tmp_path: Path) -> None:
    async with open_journal(tmp_path, owner=DEAD) as journal:
        entry = record()
        await journal.request(entry)
    async with open_journal(tmp_path) as journal:
        assert await journal.abandoned() == []
        assert await state_of(journal, entry) == "requested"


async def test_a_person_settles_an_unknown_call(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        entry = record()
        await journal.begin(entry)
        with pytest.raises(CallStateError, match="it is started"):
            await journal.resolve(entry.key, "done")
        await journal.finish(entry.key, "", "unknown")
        with pytest.raises(UsageError, match="Did you mean 'done'"):
            await journal.resolve(entry.key, "dome")  # type: ignore[arg-type]
        await journal.resolve(entry.key, "not done")
        await journal.resolve(entry.key, "not done")
        with pytest.raises(CallStateError, match="it is resolved"):
            await journal.resolve(entry.key, "done")
        (call,) = await journal.list()
        assert (call.state, call.outcome) == ("resolved", "not done")
        assert call.note == "a person found out that it was not done"
        with pytest.raises(CallStateError):
            await journal.start(entry.key)


@pytest.mark.parametrize(
    ("effect", "state"), [("read", "failed"), ("idempotent", "unknown"), ("write", "unknown")]
)
async def test_only_a_call_with_an_effect_is_unknown_when_it_is_cut_off(
    tmp_path: Path, effect: str, state: str
) -> None:
    async with open_journal(tmp_path) as journal:
        entry = record(effect=effect)
        await journal.begin(entry)
        await journal.finish(entry.key, "", "unknown")
        await journal.finish(entry.key, "", "unknown")
        assert await state_of(journal, entry) == state


async def test_a_denied_call_never_starts(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        entry = record()
        await journal.request(entry)
        await journal.finish(entry.key, '"no"', "denied")
        await journal.finish(entry.key, '"no"', "denied")
        with pytest.raises(CallStateError, match="it is denied"):
            await journal.start(entry.key)
        with pytest.raises(CallStateError, match="it is denied"):
            await journal.approve(entry.key)
        with pytest.raises(CallStateError, match="no such call"):
            await journal.start("0" * 32)


async def test_a_start_that_is_cancelled_is_taken_back(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        entries = [record() for _ in range(30)]
        await journal.request(*entries)
        for entry in entries:
            with anyio.move_on_after(0):
                await journal.start(entry.key)
        assert {call.state for call in await journal.list()} <= {"requested", "approved"}
        for entry in entries:
            await journal.start(entry.key)
        assert {call.attempts for call in await journal.list()} == {1}


async def test_a_start_fails_and_an_end_waits_while_another_process_holds_the_store(
    tmp_path: Path,
) -> None:
    async with open_journal(tmp_path) as journal:
        running, waiting = record(), record()
        await journal.request(running, waiting)
        await journal.start(running.key)
        holder = sqlite3.connect(tmp_path / "vanta.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with store_waits_until(anyio.current_time()):
            with pytest.raises(StoreError):
                await journal.start(waiting.key)
            await journal.finish(running.key, '"ok"')
        holder.execute("ROLLBACK")
        holder.close()
        await journal.start(waiting.key)
        calls = {call.key: call for call in await journal.list()}
        assert (calls[running.key].state, calls[running.key].result) == ("finished", '"ok"')
        assert (calls[waiting.key].state, calls[waiting.key].attempts) == ("started", 1)


async def test_clearing_a_session_removes_the_text_of_its_calls(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    journal = Journal(store)
    ended, running, waiting, other = (
        record(arguments='{"path": "secret"}', call_id="secret") for _ in range(4)
    )
    other = record(session="s2", arguments='{"path": "kept"}')
    await journal.request(ended, running, waiting, other)
    await journal.approve(waiting.key, "because of the secret")
    for entry in (ended, running):
        await journal.start(entry.key)
    await journal.finish(ended.key, '"the secret"')
    await store.clear("ada", "s1")
    await journal.finish(running.key, '"the secret"')
    calls = await journal.list()
    with pytest.raises(CallStateError, match="it is denied"):
        await journal.start(waiting.key)
    await store.aclose()
    assert "secret" not in json.dumps([call.to_dict() for call in calls])
    by_key = {call.key: call for call in calls}
    states = [by_key[entry.key].state for entry in (ended, running, waiting, other)]
    assert states == ["finished", "finished", "denied", "requested"]
    assert by_key[ended.key].note == "its text was forgotten"
    assert by_key[ended.key].digest == ""
    assert by_key[other.key].arguments == '{"path": "kept"}'


async def test_calls_are_listed_by_user_session_turn_state_and_key(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        first, second = record(), record(turn="t2")
        third, fourth = record(session="s2"), record(user="bob")
        await journal.request(first, second, third, fourth)
        await journal.start(second.key)
        assert {call.key for call in await journal.list(user="bob")} == {fourth.key}
        assert {call.key for call in await journal.list(session="s2")} == {third.key}
        assert {call.key for call in await journal.list(turn="t2")} == {second.key}
        assert {call.key for call in await journal.list(states=["started"])} == {second.key}
        assert {call.key for call in await journal.list(key=first.key[:12])} == {first.key}
        assert len(await journal.list(limit=3)) == 3
        assert await journal.list(key="%") == []


async def test_a_huge_result_is_kept_in_part(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        entry = record()
        await journal.begin(entry)
        await journal.finish(entry.key, json.dumps("x" * 3_000_000))
        (call,) = await journal.list()
        kept = json.loads(call.result)
        assert kept["cut"] is True
        assert kept["text"] == '"' + "x" * ((1 << 20) - 1)


async def test_a_key_is_used_once(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        entry = record()
        await journal.begin(entry)
        with pytest.raises(StoreError):
            await journal.request(record(), entry)
        assert [call.key for call in await journal.list()] == [entry.key]
        assert await state_of(journal, entry) == "started"


def test_a_digest_names_tool_schema_description_effect_and_arguments() -> None:
    tool = offer("files.write", "path").tool
    base = digest_of("files", tool, '{"path":"a"}')
    assert base == digest_of("files", offer("files.write", "path").tool, '{"path":"a"}')
    others = [
        digest_of("other", tool, '{"path":"a"}'),
        digest_of("files", tool, '{"path":"b"}'),
        digest_of("files", offer("files.write", "path", effect="read").tool, '{"path":"a"}'),
        digest_of("files", offer("files.write", "path", private=True).tool, '{"path":"a"}'),
        digest_of("files", offer("files.write", "path", "to").tool, '{"path":"a"}'),
        digest_of("files", offer("files.edit", "path").tool, '{"path":"a"}'),
        tool_digest("files", tool),
    ]
    assert len({base, *others}) == 8
