"""Sessions: order, history, durability, cancellation."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta.errors import AllTracksFailed, ErrorKind, UnknownName
from vanta.events import TextDelta, TurnFinished, TurnStarted
from vanta.messages import Message
from vanta.testing import Fail, Hang, Say, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio


async def test_ask_returns_the_reply_with_its_track_and_model(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("Hello there")) as runtime:
        reply = await runtime.session("ada").ask("hi")
    assert (reply.text, reply.track, reply.model) == ("Hello there", "local", "scripted-1")
    assert reply.usage is not None
    assert reply.usage.output_tokens > 0
    assert reply.trace.status == "answered"


async def test_stream_yields_the_events_in_order_and_the_text_of_the_reply(tmp_path: Path) -> None:
    async with (
        open_scripted(tmp_path, local=ScriptedEngine("a b c")) as runtime,
        runtime.session("ada").stream("hi") as turn,
    ):
        events = [event async for event in turn]
    assert isinstance(events[0], TurnStarted)
    assert isinstance(events[-1], TurnFinished)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == turn.reply.text == "a b c"
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)


async def test_the_history_goes_to_the_engine_and_survives_a_restart(tmp_path: Path) -> None:
    first = ScriptedEngine("one")
    async with open_scripted(tmp_path, local=first) as runtime:
        await runtime.session("ada").ask("1?")
    second = ScriptedEngine("two")
    async with open_scripted(tmp_path, local=second) as runtime:
        session = runtime.session("ada")
        await session.ask("2?")
        history = [(message.role, message.content) for message in await session.history()]
    assert history == [("user", "1?"), ("assistant", "one"), ("user", "2?"), ("assistant", "two")]
    prompt = second.requests[0].messages
    assert [message.content for message in prompt[1:]] == ["1?", "one", "2?"]


async def test_the_exchange_is_in_the_database_when_turn_finished_is_emitted(
    tmp_path: Path,
) -> None:
    rows: list[int] = []

    def look(event: object) -> None:
        if isinstance(event, TurnFinished):
            other = sqlite3.connect(tmp_path / "vanta.db")
            rows.extend(other.execute("select count(*) from messages").fetchone())
            other.close()

    async with (
        open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime,
        runtime.session("ada").stream("hi") as turn,
    ):
        async for event in turn:
            look(event)
    assert rows == [2]


def test_an_exchange_survives_the_death_of_the_process(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, pathlib, signal, sys, anyio
        from tests.runtime.home import open_scripted
        from vanta.events import TurnFinished
        from vanta.testing import ScriptedEngine

        async def main():
            async with open_scripted(pathlib.Path(sys.argv[1]), local=ScriptedEngine("kept")) as r:
                async with r.session("ada").stream("hi") as turn:
                    async for event in turn:
                        if isinstance(event, TurnFinished):
                            os.kill(os.getpid(), signal.SIGKILL)

        anyio.run(main)
    """)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    died = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=root, env=environment, check=False
    )
    assert died.returncode == -signal.SIGKILL

    async def history() -> list[Message]:
        async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
            return await runtime.session("ada").history()

    assert [message.content for message in anyio.run(history)] == ["hi", "kept"]


async def test_turns_of_one_session_wait_for_each_other(tmp_path: Path) -> None:
    gate = anyio.Event()
    engine = ScriptedEngine(scripts=[[Wait(gate), "one"], ["two"]])
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.ask, "1?")
            await engine.run(0)
            tasks.start_soon(runtime.session("ada").ask, "2?")
            await anyio.wait_all_tasks_blocked()
            assert len(engine.runs) == 1
            gate.set()
        history = [message.content for message in await session.history()]
    assert history == ["1?", "one", "2?", "two"]


async def test_two_sessions_do_not_wait_for_each_other(tmp_path: Path) -> None:
    gate = anyio.Event()
    engine = ScriptedEngine(scripts=[[Wait(gate), "one"], ["two"]])
    async with open_scripted(tmp_path, local=engine) as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.session("ada").ask, "1?")
        await engine.run(0)
        assert (await runtime.session("bob").ask("2?")).text == "two"
        gate.set()


async def test_waiting_for_the_session_counts_towards_the_deadline(tmp_path: Path) -> None:
    gate = anyio.Event()
    engine = ScriptedEngine(Wait(gate), "one")
    async with open_scripted(tmp_path, local=engine) as runtime, anyio.create_task_group() as tasks:
        session = runtime.session("ada")
        tasks.start_soon(session.ask, "1?")
        await engine.run(0)
        with pytest.raises(AllTracksFailed, match="deadline"):
            await session.ask("2?", deadline_s=0.02)
        gate.set()
    assert len(engine.runs) == 1


async def test_a_turn_that_fails_leaves_the_history_as_it_was_and_a_record(tmp_path: Path) -> None:
    engine = ScriptedEngine(scripts=[[Fail(ErrorKind.AUTH)], ["fine"]])
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada")
        with pytest.raises(AllTracksFailed):
            await session.ask("1?")
        await session.ask("2?")
        history = [message.content for message in await session.history()]
        turns = await runtime.store.records(session="ada")
    assert history == ["2?", "fine"]
    assert [turn["status"] for turn in turns] == ["failed", "answered"]


async def test_a_cancelled_turn_leaves_session_and_engine_ready_and_a_record(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine(scripts=[[Say("half"), Hang()], ["whole"]])
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada")
        async with session.stream("1?") as turn:
            async for event in turn:
                if isinstance(event, TextDelta):
                    break
        assert engine.streaming == 0
        assert (await session.ask("2?")).text == "whole"
        history = [message.content for message in await session.history()]
        turns = await runtime.store.records(session="ada")
    assert history == ["2?", "whole"]
    assert [turn["status"] for turn in turns] == ["cancelled", "answered"]
    assert turns[0]["trace"]["legs"][0]["usage"]["output_tokens"] >= 1


async def test_an_error_in_the_body_of_a_stream_comes_out_as_itself(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        with pytest.raises(ZeroDivisionError):
            async with runtime.session("ada").stream("hi"):
                raise ZeroDivisionError


async def test_iterating_a_turn_that_fails_raises_its_error(tmp_path: Path) -> None:
    async with (
        open_scripted(tmp_path, local=ScriptedEngine(Fail(ErrorKind.AUTH))) as runtime,
        runtime.session("ada").stream("hi") as turn,
    ):
        with pytest.raises(AllTracksFailed):
            [event async for event in turn]
        with pytest.raises(RuntimeError, match="no reply yet"):
            _ = turn.reply


async def test_users_do_not_see_each_others_sessions(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        await runtime.session("diary", user="ada").ask("mine")
        assert await runtime.session("diary", user="bob").history() == []


async def test_clear_forgets_the_conversation(tmp_path: Path) -> None:
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada")
        await session.ask("1?")
        assert await session.clear() == 2
        await session.ask("2?")
        assert [message.content for message in await session.history()] == ["2?", "x"]
    assert [message.content for message in engine.requests[1].messages[1:]] == ["2?"]


@pytest.mark.parametrize("option", [{"policy": "rce"}, {"track": "lcal"}])
async def test_a_name_that_does_not_exist_is_an_error_with_the_nearest(
    tmp_path: Path, option: dict[str, str]
) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        with pytest.raises(UnknownName, match=r"Did you mean '(race|local)'"):
            await runtime.session("ada").ask("hi", **option)  # type: ignore[call-overload]


async def test_one_track_can_be_asked_alone(tmp_path: Path) -> None:
    local, api = ScriptedEngine("l"), ScriptedEngine("a")
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        reply = await runtime.session("ada").ask("hi", track="api")
    assert reply.track == "api"
    assert local.runs == []
