"""The guard records calls that block the loop, and nothing else."""

from __future__ import annotations

import importlib
import sqlite3
import sys
import time

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.testing.blockers import BLOCKERS, runs_a_statement, sleeps
from vanta.testing import LoopGuard, ScriptedEngine, Upstream
from vanta.testing.conformance.hints import Hints, read_stream


@pytest.mark.anyio
@pytest.mark.parametrize("event", BLOCKERS)
async def test_a_blocking_call_on_the_loop_is_recorded(event: str) -> None:
    with LoopGuard() as guard:
        BLOCKERS[event]()
    assert event in {call.event for call in guard.calls}
    assert "blockers.py" in guard.calls[0].where


@pytest.mark.anyio
@pytest.mark.parametrize("event", BLOCKERS)
async def test_the_same_call_in_a_worker_thread_is_fine(event: str) -> None:
    with LoopGuard() as guard:
        await anyio.to_thread.run_sync(BLOCKERS[event])
    assert guard.calls == []


@pytest.mark.parametrize("event", BLOCKERS)
def test_the_same_call_without_a_loop_is_fine(event: str) -> None:
    with LoopGuard() as guard:
        BLOCKERS[event]()
    assert guard.calls == []


@pytest.mark.anyio
async def test_a_statement_on_the_loop_is_recorded_wherever_the_database_was_opened() -> None:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(":memory:", check_same_thread=False)

    with LoopGuard() as guard:
        connection = await anyio.to_thread.run_sync(connect)
        await anyio.to_thread.run_sync(runs_a_statement, connection)
        assert guard.calls == []
        runs_a_statement(connection)
    connection.close()
    assert [call.detail for call in guard.calls] == ["select 1"]


@pytest.mark.anyio
async def test_real_network_traffic_on_the_loop_does_not_block() -> None:
    with LoopGuard() as guard:
        async with (
            Upstream() as upstream,
            await anyio.connect_tcp("127.0.0.1", int(upstream.base_url[17:-3])) as stream,
        ):
            await stream.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"200" in await stream.receive()
        await read_stream(ScriptedEngine("x"), Hints.request)
        await anyio.lowlevel.checkpoint()
    assert guard.calls == []


@pytest.mark.anyio
async def test_importing_a_module_does_not_count() -> None:
    sys.modules.pop("colorsys", None)
    with LoopGuard() as guard:
        importlib.import_module("colorsys")
    assert guard.calls == []


@pytest.mark.anyio
async def test_an_ignored_file_may_block_but_what_it_calls_may_not() -> None:
    with LoopGuard(ignore=(__file__,)) as guard:
        time.sleep(0.001)  # noqa: ASYNC251 - that is the point
        assert guard.calls == []
        sleeps()
    assert len(guard.calls) == 1


@pytest.mark.anyio
async def test_a_guard_records_its_events_and_only_while_it_is_open() -> None:
    with LoopGuard(events=frozenset({"open"})) as guard:
        sleeps()
    BLOCKERS["open"]()
    assert guard.calls == []
