"""Whatever breaks becomes an error of vanta's own, one final event and one record of the turn."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.engine import EngineFactory, GenerationRequest, Health, TokenCount
from vanta.errors import (
    AllTracksFailed,
    EngineError,
    InternalError,
    NoTrack,
    StoreError,
    VantaError,
)
from vanta.events import Event, TurnFailed, TurnFinished, TurnStarted
from vanta.messages import Delta, Message
from vanta.runtime import Isolation, Runtime
from vanta.storage import Store
from vanta.testing import Hang, ScriptedEngine, Wait, scripted_plugin

pytestmark = pytest.mark.anyio


class Recorder:
    """A plugin that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @vanta.hookimpl
    def vanta_observers(self, config: object) -> Iterable[Any]:
        return [self.events.append]

    @property
    def final(self) -> list[str]:
        """The final events, by their type's name."""
        kinds = (TurnFinished, TurnFailed)
        return [type(event).__name__ for event in self.events if isinstance(event, kinds)]


class BrokenParts(ScriptedEngine):
    """An engine whose named methods raise an error that is not vanta's own."""

    def __init__(self, *broken: str) -> None:
        super().__init__("fine")
        self._broken = broken

    def _break(self, method: str) -> None:
        if method in self._broken:
            raise ImportError(f"no module for {method}")

    async def load(self) -> None:
        self._break("load")

    async def health(self, *, force: bool = False) -> Health:
        self._break("health")
        return await super().health(force=force)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        self._break("count_tokens")
        return await super().count_tokens(messages)

    async def forget(self) -> None:
        self._break("forget")

    async def aclose(self) -> None:
        self._break("aclose")
        await super().aclose()


def execute(folder: Path, statement: str) -> None:
    """Run a statement on the store from outside."""
    with closing(sqlite3.connect(folder / "vanta.db")) as database, database:
        database.execute(statement)


async def statuses(runtime: Runtime) -> list[str]:
    return [record["status"] for record in await runtime.store.records()]


async def test_a_history_that_cannot_be_read_fails_the_turn_with_one_event_and_one_record(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    async with open_scripted(
        tmp_path,
        local=ScriptedEngine("x"),
        plugins=[recorder],
        config={"memory": {"enabled": False}},
    ) as runtime:
        execute(tmp_path, "alter table messages rename to elsewhere")
        with pytest.raises(StoreError, match="messages"):
            await runtime.session("ada").ask("hi")
        assert recorder.final == ["TurnFailed"]
        assert await statuses(runtime) == ["failed"]


async def test_a_reply_that_cannot_be_stored_fails_the_turn_with_one_event(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_scripted(tmp_path, local=ScriptedEngine("x"), plugins=[recorder]) as runtime:
        session = runtime.session("ada")
        await session.ask("hi")
        execute(tmp_path, "alter table turns rename to elsewhere")
        with pytest.raises(StoreError, match="turns"):
            await session.ask("again")
        execute(tmp_path, "alter table elsewhere rename to turns")
        assert [message.content for message in await session.history()] == ["hi", "x"]
        assert (await session.ask("third")).text == "x"
    assert recorder.final == ["TurnFinished", "TurnFailed", "TurnFinished"]


async def test_text_that_no_database_takes_ends_in_one_event_and_one_record(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    async with open_scripted(
        tmp_path, local=ScriptedEngine("half of \ud83d"), plugins=[recorder]
    ) as runtime:
        try:
            await runtime.session("ada").ask("hi")
        except VantaError:
            assert recorder.final == ["TurnFailed"]
        else:
            assert recorder.final == ["TurnFinished"]
        assert len(await statuses(runtime)) == 1


async def test_a_fault_in_the_middle_of_a_turn_is_an_internal_error_with_one_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken_clock() -> float:
        raise ZeroDivisionError("a clock's own bug")

    recorder = Recorder()
    store = await anyio.to_thread.run_sync(
        lambda: Store.open(f"sqlite:///{tmp_path}/other.db", clock=broken_clock)
    )
    try:
        async with open_scripted(
            tmp_path, local=ScriptedEngine("x"), plugins=[recorder]
        ) as runtime:
            session = runtime.session("ada", isolation=Isolation(store=store))
            with pytest.raises(InternalError, match="ZeroDivisionError: a clock's own bug"):
                await session.ask("hi")
            assert recorder.final == ["TurnFailed"]
            assert await session.history() == []
    finally:
        await store.aclose()
    assert "has no record" in caplog.text


async def test_a_fault_of_the_policy_is_an_internal_error_that_names_its_cause(
    tmp_path: Path,
) -> None:
    class Odd(vanta.Policy):
        @property
        def tracks(self) -> tuple[str, ...]:
            raise ZeroDivisionError("a policy's own bug")

    odd = Odd("odd", "broken", (vanta.LegPlan("local"),))
    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        with pytest.raises(InternalError, match="ZeroDivisionError: a policy's own bug") as raised:
            await runtime.session("ada").ask("hi", policy=odd)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_a_turn_cancelled_while_it_waits_for_its_session_has_one_event_and_one_record(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    gate = anyio.Event()
    engine = ScriptedEngine(Wait(gate), "one")
    async with (
        open_scripted(tmp_path, local=engine, plugins=[recorder]) as runtime,
        anyio.create_task_group() as tasks,
    ):
        session = runtime.session("ada")
        tasks.start_soon(session.ask, "1?")
        await engine.run(0)
        with anyio.CancelScope() as scope:
            async with session.stream("2?") as turn:
                assert isinstance(await anext(turn), TurnStarted)
                scope.cancel()
                await anyio.sleep_forever()
        assert recorder.final == ["TurnFailed"]
        assert await statuses(runtime) == ["cancelled"]
        gate.set()


async def test_turns_that_never_race_have_one_event_and_one_record(tmp_path: Path) -> None:
    recorder = Recorder()
    gate = anyio.Event()
    engine = ScriptedEngine(Wait(gate), "one")
    async with (
        open_scripted(tmp_path, local=engine, plugins=[recorder], private=()) as runtime,
        anyio.create_task_group() as tasks,
    ):
        with pytest.raises(NoTrack):
            await runtime.session("bob").ask("hi", private=True)
        tasks.start_soon(runtime.session("ada").ask, "1?")
        await engine.run(0)
        with pytest.raises(AllTracksFailed, match="deadline"):
            await runtime.session("ada").ask("2?", deadline_s=0.02)
        assert recorder.final == ["TurnFailed", "TurnFailed"]
        assert await statuses(runtime) == ["failed", "failed"]
        gate.set()


@pytest.mark.parametrize("method", ["load", "count_tokens"])
async def test_an_import_error_of_an_engine_fails_its_leg_alone(
    tmp_path: Path, method: str
) -> None:
    policy = vanta.Policy("both", "a race", (vanta.LegPlan("api"), vanta.LegPlan("local")))
    async with open_scripted(
        tmp_path, local=ScriptedEngine("still here"), api=BrokenParts(method)
    ) as runtime:
        reply = await runtime.session("ada").ask("hi", policy=policy)
        assert reply.text in {"still here", "fine"}


async def test_an_engine_that_cannot_be_loaded_is_an_engine_error_that_names_track_and_advice(
    tmp_path: Path,
) -> None:
    async with open_scripted(tmp_path, local=BrokenParts("load")) as runtime:
        with pytest.raises(EngineError, match=r"track 'local'.*no module for load.*vanta doctor"):
            await runtime.warm_up()


async def test_a_health_check_that_breaks_is_a_finding(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=BrokenParts("health")) as runtime:
        health = await runtime.tracks["local"].health(force=True)
    assert not health.ok
    assert "ImportError: no module for health" in health.detail


async def test_a_check_of_a_base_engine_that_breaks_is_a_finding() -> None:
    class Careless(vanta.BaseEngine):
        name = "careless"
        model = "m"
        keeps_state = False

        async def deltas(self, request: GenerationRequest) -> AsyncIterator[Delta]:
            yield Delta(text="x")

        async def check(self) -> Health:
            raise OSError("the device is gone")

    health = await Careless().health(force=True)
    assert not health.ok
    assert "OSError: the device is gone" in health.detail


async def test_an_engine_that_cannot_be_closed_keeps_nothing_else_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=other, api=BrokenParts("aclose")) as runtime:
        await runtime.session("ada").ask("hi")
    assert other.closed
    assert "no module for aclose" in caplog.text


async def test_an_engine_that_cannot_be_built_is_off_with_the_reason(tmp_path: Path) -> None:
    def fail(_options: object, _context: object) -> Any:
        raise ImportError("libfoo.so is missing")

    class Plugin:
        @vanta.hookimpl
        def vanta_engines(self) -> list[EngineFactory]:
            (factory,) = scripted_plugin(local=ScriptedEngine("x")).vanta_engines()
            return [dataclasses.replace(factory, name="fragile", create=fail)]

    tables = {"tracks": {"api": {"enabled": True, "engine": "fragile", "model": "m"}}}
    async with open_scripted(
        tmp_path, local=ScriptedEngine("fine"), plugins=[Plugin()], config=tables
    ) as runtime:
        assert "ImportError: libfoo.so is missing" in runtime.off["api"]
        assert (await runtime.session("ada").ask("hi", track="local")).text == "fine"


async def test_forgetting_reports_an_engine_that_breaks(tmp_path: Path) -> None:
    from vanta.memory import Selection

    async with open_scripted(tmp_path, local=BrokenParts("forget")) as runtime:
        assert runtime.memory is not None
        await runtime.session("ada").ask("hi")
        receipt = await runtime.memory.forget(Selection("default", everything=True))
    assert "no module for forget" in str(receipt)


async def test_a_turn_stopped_by_its_caller_leaves_the_next_one_intact(tmp_path: Path) -> None:
    engine = ScriptedEngine(scripts=[[Hang()], ["two"]])
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada")
        async with session.stream("1?"):
            await engine.run(0)
        assert (await session.ask("2?")).text == "two"
        assert sorted(await statuses(runtime)) == ["answered", "cancelled"]
