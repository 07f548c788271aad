"""Waits for the store end with the turn's deadline: locks of other processes, and a slow disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sqlalchemy as sa

from vanta.errors import AllTracksFailed, RunError, StoreError
from vanta.events import Event, TurnFailed, TurnFinished
from vanta.runtime import Runtime
from vanta.storage import Store, sqlite_url, store_waits_until
from vanta.testing import ScriptedEngine, open_scripted

pytestmark = pytest.mark.anyio

LATE_S = 1.0
"""What a turn may last beyond its deadline here; the machine has other work."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the database's write lock, as a backup in another process does."""
    connection = sqlite3.connect(data_dir / "vanta.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


async def fails(runtime: Runtime, session: str, deadline_s: float) -> float:
    """Take a turn that fails; return its seconds."""
    began = time.monotonic()
    with pytest.raises(RunError):
        await runtime.session(session).ask("hello", deadline_s=deadline_s)
    return time.monotonic() - began


PAID = {
    "tracks": {
        "api": {
            "input_usd_per_mtok": 1.0,
            "output_usd_per_mtok": 1.0,
            "sampling": {"max_tokens": 4},
        }
    },
    "budget": {"day_usd": 1.0},
}


@pytest.mark.parametrize("settings", [{}, PAID], ids=["free", "paid"])
async def test_a_locked_store_ends_a_turn_at_its_deadline(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with open_scripted(
        tmp_path, {"api": ScriptedEngine("hi"), "policy": "api", **settings}
    ) as runtime:
        await runtime.session("s").ask("one")
        with locked(tmp_path):
            took_s = await fails(runtime, "s", 0.5)
        assert took_s < 0.5 + LATE_S
        assert (await runtime.session("s").ask("two")).text == "hi"
        asked = [m.content for m in await runtime.session("s").history() if m.role == "user"]
        assert asked == ["one", "two"]


async def test_five_turns_on_a_locked_store_wait_side_by_side(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, {"api": ScriptedEngine("hi"), "policy": "api", **PAID}
    ) as runtime:
        await runtime.session("warm").ask("one")
        began = time.monotonic()
        with locked(tmp_path):
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(fails, runtime, f"s{number}", 0.5)
        assert time.monotonic() - began < 0.5 + LATE_S


async def test_a_turn_on_a_locked_store_has_one_final_event_and_a_clear_error(
    tmp_path: Path,
) -> None:
    events: list[Event] = []

    async def watch(runtime: Runtime) -> None:
        async with runtime.session("s").stream("hello", deadline_s=1.5) as turn:
            async for event in turn:
                events.append(event)  # noqa: PERF401 - those before the error count

    async with open_scripted(tmp_path, {"api": ScriptedEngine("hi"), "policy": "api"}) as runtime:
        await runtime.session("s").ask("one")
        with locked(tmp_path), pytest.raises(StoreError, match=r"(?i)close that"):
            await watch(runtime)
    finals = [event for event in events if isinstance(event, TurnFinished | TurnFailed)]
    assert [type(event) for event in finals] == [TurnFailed]


async def test_a_lock_that_ends_in_time_costs_nothing_but_the_wait(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, {"api": ScriptedEngine("hi"), "policy": "api"}) as runtime:
        await runtime.session("s").ask("one")
        free, held = threading.Event(), threading.Event()

        def hold() -> None:
            with locked(tmp_path):
                held.set()
                free.wait(10)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, hold)
            await anyio.to_thread.run_sync(held.wait)
            async with runtime.session("s").stream("two", deadline_s=20) as turn:
                async for event in turn:
                    if event.to_dict()["type"] == "LegFinished":
                        free.set()
            assert turn.reply.text == "hi"


async def test_a_slow_transaction_of_another_task_holds_up_no_turn(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    done = threading.Event()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.transact, lambda _: done.wait(20))
            await anyio.wait_all_tasks_blocked()
            began = time.monotonic()
            with (
                store_waits_until(anyio.current_time() + 0.2),
                pytest.raises(StoreError, match="left"),
            ):
                await store.transact(lambda _: None)
            assert time.monotonic() - began < 0.2 + LATE_S
            done.set()
    finally:
        done.set()
        await store.aclose()


async def test_what_a_slow_disk_holds_up_is_rolled_back(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    released, entered = threading.Event(), threading.Event()

    def insert(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO late VALUES (1)")
        entered.set()
        released.wait(20)

    def count(connection: sa.Connection) -> int:
        return int(connection.exec_driver_sql("SELECT count(*) FROM late").scalar_one())

    try:
        await store.transact(lambda connection: connection.exec_driver_sql("CREATE TABLE late (x)"))
        with store_waits_until(anyio.current_time() + 0.1), pytest.raises(StoreError):
            await store.transact(insert)
        assert entered.is_set()
        released.set()
        assert await store.transact(count) == 0
    finally:
        released.set()
        await store.aclose()


async def test_a_wait_is_never_longer_than_the_outer_limit(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    with locked(tmp_path):
        began = time.monotonic()
        with (
            store_waits_until(anyio.current_time() + 0.1),
            store_waits_until(anyio.current_time() + 30),
            pytest.raises(StoreError),
        ):
            await store.transact(
                lambda connection: connection.exec_driver_sql("CREATE TABLE other (x)")
            )
        assert time.monotonic() - began < 0.1 + LATE_S
    await store.aclose()


async def test_a_locked_store_lets_a_leg_fail_by_its_budget_and_says_so(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, {"api": ScriptedEngine("hi"), "policy": "api", **PAID}
    ) as runtime:
        await runtime.session("s").ask("one")
        with locked(tmp_path), pytest.raises((AllTracksFailed, StoreError)) as caught:
            await runtime.session("s").ask("two", deadline_s=0.3)
    assert "the store" in str(caught.value) or "deadline" in str(caught.value)
