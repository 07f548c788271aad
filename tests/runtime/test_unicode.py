"""Text that is not Unicode, from servers and callers: a turn is answered, stored and continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.errors import ErrorKind
from vanta.events import Event, TextDelta, TurnFinished
from vanta.memory import NewItem, Question, Scope
from vanta.messages import Delta, Fold, Message, ToolCallPart
from vanta.testing import Behaviour, Fail, ScriptedEngine, Upstream

pytestmark = pytest.mark.anyio

SMILE = "\U0001f600"
HALVES = ["Nice \ud83d", "\ude00 day."]


def is_well_formed(data: Any) -> bool:
    return "\\ud" not in ascii(data).replace("\\\\", "")


async def events_of(session: Any, text: str) -> list[Event]:
    async with session.stream(text) as turn:
        return [event async for event in turn]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (HALVES, f"Nice {SMILE} day."),
        (["Nice \ud83d", " day."], "Nice \ufffd day."),
        (["Nice day \ud83d"], "Nice day \ufffd"),
        (["caf\udce9", " au lait"], "caf\ufffd au lait"),
        (["\ud83d", "\ude00"], SMILE),
    ],
)
async def test_halves_from_a_server_become_characters(
    tmp_path: Path, deltas: list[str], expected: str
) -> None:
    async with Upstream(default=Behaviour.answer(deltas)) as server:
        tracks = {
            "api": {"engine": "openai", "model": "m", "options": {"base_url": server.base_url}},
            "local": {"enabled": False},
        }
        config = {"data_dir": str(tmp_path), "policy": "api", "tracks": tracks}
        async with vanta.open(config) as runtime:
            session = runtime.session("s")
            events = await events_of(session, "hi")
            assert [event for event in events if not is_well_formed(event.to_dict())] == []
            assert "".join(e.text for e in events if isinstance(e, TextDelta)) == expected
            assert isinstance(events[-1], TurnFinished)
            assert (await session.history())[1].content == expected
            assert (await session.ask("and now?")).text == expected
        assert is_well_formed(server.exchanges[-1].body)


async def test_half_a_character_of_a_broken_leg_is_not_shown(tmp_path: Path) -> None:
    local = ScriptedEngine("Nice \ud83d", Fail(ErrorKind.NETWORK))
    api = ScriptedEngine(f"Nice {SMILE} day.")
    async with open_scripted(tmp_path, local=local, api=api, policy="prefer") as runtime:
        events = await events_of(runtime.session("s"), "hi")
    assert [event for event in events if not is_well_formed(event.to_dict())] == []
    final = events[-1]
    assert isinstance(final, TurnFinished)
    assert final.reply.track == "api"
    assert "\ufffd" not in final.reply.text
    assert SMILE in final.reply.text


@pytest.mark.parametrize(
    "question", ["caf\udce9 au lait?", "\ud83d", "\ud83d\ude00?", "plain \x00 nul"]
)
async def test_halves_in_a_question_are_replaced_for_every_engine(
    tmp_path: Path, question: str
) -> None:
    engine = ScriptedEngine("fine")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        session = runtime.session("s")
        assert (await session.ask(question)).text == "fine"
        assert (await session.ask("again")).text == "fine"
        assert len(await session.history()) == 4
    assert all(is_well_formed(run.request.messages) for run in engine.runs)


async def test_names_are_replaced_once_so_that_a_session_is_found_again(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("fine"), policy="local") as runtime:
        session = runtime.session("s\udce9", user="u\ud83d\ude00")
        await session.ask("hi")
        assert (session.id, session.user) == ("s\ufffd", f"u{SMILE}")
        assert len(await runtime.session("s\udce9", user=f"u{SMILE}").history()) == 2
        (record,) = await runtime.store.records(user="u\ud83d\ude00", session="s\udce9")
        assert record["user"] == f"u{SMILE}"


async def test_memory_takes_and_finds_text_with_halves(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("fine"), policy="local") as runtime:
        memory = runtime.memory
        assert memory is not None
        item = NewItem("u\udce9", "fact", "the tram \ud83d stops here", 1.0, tags=("t\udce9",))
        (number,) = await memory.add([item])
        scope = Scope("u\udce9")
        (stored,) = await memory.get(scope, [number])
        assert (stored.text, stored.tags) == ("the tram \ufffd stops here", ("t\ufffd",))
        result = await memory.recall(Question("tram \ud83d", scope), 30.0)
        assert [match.item.id for match in result.items] == [number]


async def test_tool_calls_reasoning_and_names_are_joined_across_deltas() -> None:
    fold = Fold()
    for delta in (
        Delta(
            reasoning="so \ud83d",
            tool_calls=(
                ToolCallPart(0, "1", "f", '{"a": "\ud83d'),
                ToolCallPart(1, "2", "g", "\ud83d"),
            ),
        ),
        Delta(reasoning="\ude00", tool_calls=(ToolCallPart(0, arguments='\ude00"}'),)),
        Delta(model="m\udce9", finish_reason="tool_calls"),
    ):
        fold.add(delta)
    whole = fold.completion()
    assert whole.reasoning == f"so {SMILE}"
    assert [call.arguments for call in whole.tool_calls] == [f'{{"a": "{SMILE}"}}', "\ufffd"]
    assert whole.model == "m\ufffd"
    assert Message("user", "\ud83d\ude00").content == SMILE
