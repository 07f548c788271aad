"""Branches of a session: edited and regenerated turns, branches beside others, what is recalled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta import TurnOptions
from vanta.errors import AllTracksFailed, ErrorKind, UnknownName, UsageError
from vanta.memory import NewItem, Question, Scope, Selection
from vanta.messages import Message
from vanta.runtime import Session
from vanta.testing import CallTool, Fail, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio
LEXICAL: dict[str, Any] = {"memory": {"embedder": "none"}}
ANNA, CARL = "My sister Anna lives in Lisbon.", "My sister Anna lives in Porto."
WHERE = "Where does my sister Anna live?"


def echo() -> ScriptedEngine:
    """An engine whose answers differ: it counts its requests."""
    engine = ScriptedEngine(reply=lambda _: [f"answer {len(engine.runs)}"])
    return engine


async def said(session: Session) -> list[str]:
    return [message.content for message in await session.history()]


async def test_an_edited_turn_is_answered_without_what_followed(tmp_path: Path) -> None:
    local = echo()
    async with open_scripted(tmp_path, local=local, config=LEXICAL) as runtime:
        session = runtime.session("a")
        for text in ("one", "two", "three"):
            await session.ask(text)
        second = (await session.exchanges())[1].turn
        reply = await session.edit(second, "2")
        assert reply.text == "answer 4"
        shown = [message.content for message in local.requests[-1].messages[1:]]
        assert shown == ["one", "answer 1", "2"]
        assert await said(session) == ["one", "answer 1", "2", "answer 4"]
        main, edited = await session.branches()
    assert (main.name, main.active, main.replaced, len(main.turns)) == ("main", False, True, 3)
    assert (edited.kind, edited.active, edited.replaces) == ("edit", True, second)
    assert (edited.parent, edited.after) == ("main", main.turns[0])


async def test_the_next_turn_continues_the_branch_also_in_another_process(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("one")
        first = (await session.exchange()).turn
        await session.edit(first[:8], "1")
    local = echo()
    async with open_scripted(tmp_path, local=local, config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("two")
        assert await said(session) == ["1", "answer 2", "two", "answer 1"]
        await session.switch("main")
        await session.ask("zwei")
        assert await said(session) == ["one", "answer 1", "zwei", "answer 2"]
    assert [message.content for message in local.requests[-1].messages[1:]] == [
        "one",
        "answer 1",
        "zwei",
    ]


async def test_the_latest_turn_is_regenerated_on_another_track(tmp_path: Path) -> None:
    local, api = ScriptedEngine("small"), ScriptedEngine("large")
    async with open_scripted(tmp_path, local=local, api=api, config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("hi", track="local")
        reply = await session.regenerate(track="api")
        assert (reply.text, reply.track) == ("large", "api")
        assert await said(session) == ["hi", "large"]
        branch = (await session.branches())[1]
    assert branch.kind == "regenerate"


async def test_a_replaced_turn_can_be_watched(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("one")
        turn_id = (await session.exchange()).turn
        async with session.stream("1", options=TurnOptions(replaces=turn_id)) as turn:
            texts = [str(text) async for text in turn.text()]
        assert texts[-1] == "answer 2"
        assert await said(session) == ["1", "answer 2"]


async def test_an_edit_that_fails_changes_nothing(tmp_path: Path) -> None:
    local = ScriptedEngine(scripts=[["fine"], [Fail(ErrorKind.SERVER)], ["again"]])
    config = {**LEXICAL, "retries": 0}
    async with open_scripted(tmp_path, local=local, config=config) as runtime:
        session = runtime.session("a")
        await session.ask("one")
        first = (await session.exchange()).turn
        with pytest.raises(AllTracksFailed):
            await session.edit(first, "1")
        assert await said(session) == ["one", "fine"]
        assert [branch.name for branch in await session.branches()] == ["main"]


async def test_turns_that_wait_keep_their_order_around_an_edit(tmp_path: Path) -> None:
    gate = anyio.Event()
    local = ScriptedEngine(scripts=[["a1"], [Wait(gate), "a2"], ["a3"]])
    async with open_scripted(tmp_path, local=local, config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("one")
        first = (await session.exchange()).turn
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.edit, first, "1")
            await local.run(1)
            async with session.stream("two") as later:
                await anext(later)  # it has begun, and waits for the edit
                gate.set()
                async for _ in later:
                    pass
        assert await said(session) == ["1", "a2", "two", "a3"]


async def test_a_branch_beside_another_begins_at_a_turn_or_a_message(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        for text in ("one", "two"):
            await session.ask(text)
        first = (await session.exchanges())[0].turn
        by_turn = await session.branch(first, name="idea")
        assert (by_turn.name, by_turn.turns, by_turn.active) == ("idea", (first,), True)
        await session.switch("main")
        assert (await session.branch(1)).turns == (first,)
        await session.switch("main")
        assert (await session.branch(2)).turns == (first,)  # instead of the second message
        await session.switch("main")
        assert (await session.branch(0)).turns == ()
        await session.switch("main")
        assert len((await session.branch(-1)).turns) == 2
        await session.switch("main")
        assert (await session.branch("")).turns == ()
        assert len(await session.branches()) == 7
        assert not any(branch.replaced for branch in await session.branches())


@pytest.mark.parametrize("at", [4, -5, "ffff"])
async def test_a_branch_of_nothing_is_refused(tmp_path: Path, at: str | int) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        for text in ("one", "two"):
            await session.ask(text)
        with pytest.raises(UsageError, match=r"has (no message|the id)"):
            await session.branch(at)
        with pytest.raises(UnknownName, match="no branch is named 'mian'"):
            await session.switch("mian")
        with pytest.raises(UsageError, match="has a branch 'main' already"):
            await session.branch(name="main")
        with pytest.raises(UsageError, match="has no turn yet"):
            await runtime.session("b").regenerate()
        assert [branch.name for branch in await session.branches()] == ["main"]


async def test_replaced_text_is_not_recalled_until_its_branch_is_used_again(
    tmp_path: Path,
) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask(ANNA)
        turn = (await session.exchange()).turn
        assert runtime.memory is not None

        async def recalled() -> str:
            assert runtime.memory is not None
            await runtime.memory.stats()  # copies what is queued
            found = await runtime.memory.recall(Question(WHERE, Scope("default", private=True)))
            return " ".join(match.item.text for match in found.items)

        assert "Lisbon" in await recalled()
        await session.edit(turn, CARL)
        assert "Lisbon" not in await recalled()
        assert "Porto" in await recalled()
        await session.switch("main")
        assert "Porto" not in await recalled()
        assert "Lisbon" in await recalled()
        await session.branch(name="beside")
        assert "Lisbon" in await recalled()


async def test_a_summary_of_another_branch_is_not_recalled(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session, memory = runtime.session("a"), runtime.memory
        assert memory is not None
        for text in ("one", "two"):
            await session.ask(text)
        summary = NewItem(
            user="default", kind="summary", text="They chose Lisbon.", said_at=1.0, session="a"
        )
        await memory.add([summary])
        question = Question("Where?", Scope("default", private=True), session="a")
        before = [match.item.kind for match in (await memory.recall(question)).items]
        await session.branch(1)
        after = [match.item.kind for match in (await memory.recall(question)).items]
    assert "summary" in before
    assert "summary" not in after


async def test_the_edited_turn_itself_is_not_shown_what_it_replaces(tmp_path: Path) -> None:
    local = echo()
    async with open_scripted(tmp_path, local=local, config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask(ANNA)
        turn = (await session.exchange()).turn
        await session.ask("And in Lisbon, where does my sister Anna live?")
        await session.edit(turn, WHERE)
    shown = "\n".join(message.content for message in local.requests[-1].messages)
    assert "Lisbon" not in shown


async def test_forgetting_an_item_forgets_the_alternatives_of_its_turn(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("Hello.")
        await session.ask(ANNA)
        await session.regenerate()
        await session.regenerate()
        memory = runtime.memory
        assert memory is not None
        items = [item async for item in memory.export("default") if item.text == ANNA]
        receipt = await memory.forget(Selection("default", ids=(items[0].id,)))
        assert receipt.removed.messages == 6
        await session.ask("More.")
        assert await said(session) == ["Hello.", "answer 1", "More.", "answer 5"]
    assert ANNA.encode() not in (tmp_path / "vanta.db").read_bytes()


@pytest.mark.parametrize("everything", [True, False])
async def test_forgetting_a_session_forgets_all_its_branches(
    tmp_path: Path, everything: bool
) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask(ANNA)
        await session.edit((await session.exchange()).turn, "Never mind.")
        assert runtime.memory is not None
        selection = Selection("default", everything=True)
        if not everything:
            selection = Selection("default", session="a")
        await runtime.memory.forget(selection)
        assert await session.history() == []
    assert b"Lisbon" not in (tmp_path / "vanta.db").read_bytes()


async def test_a_branch_keeps_its_history_when_its_first_turn_is_forgotten(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        for text in ("one", "two", ANNA):
            await session.ask(text)
        await session.branch(name="beside")
        await session.ask("four")
        memory = runtime.memory
        assert memory is not None
        (item,) = [item async for item in memory.export("default") if item.text == ANNA]
        await memory.forget(Selection("default", ids=(item.id,)))
        before = await said(session)
        await session.switch("main")
        await session.ask("five")  # may get the ids of the messages that are gone
        await session.switch("beside")
        assert await said(session) == before
        assert before == ["one", "answer 1", "two", "answer 2", "four", "answer 4"]


async def test_a_cleared_session_has_no_branches(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("one")
        await session.regenerate()
        assert await session.clear() == 4
        assert [branch.name for branch in await session.branches()] == ["main"]
        await session.ask("two")
        assert await said(session) == ["two", "answer 3"]


async def test_an_edit_of_a_private_turn_is_private(tmp_path: Path) -> None:
    local, api = ScriptedEngine("here"), ScriptedEngine("there")
    async with open_scripted(tmp_path, local=local, api=api, config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("My PIN is 1234.", private=True, track="local")
        turn = (await session.exchange()).turn
        reply = await session.edit(turn, "My PIN is 4321.", TurnOptions(policy="race"))
        assert reply.trace.private
        assert not api.requests
        public = TurnOptions(private=False, track="api")
        assert (await session.edit(turn, "Hello.", public)).text == "there"
    shown = "\n".join(message.content for message in api.requests[-1].messages)
    assert "PIN" not in shown


async def test_the_model_reads_of_writes_that_ran_on_another_branch(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(to: str) -> str:
        """Send a letter."""
        sent.append(to)
        return f"Sent to {to}."

    def reply(request: Any) -> list[Any]:
        results = [message for message in request.messages if message.role == "tool"]
        return ["Done."] if results else [CallTool("send", '{"to": "Anna"}')]

    local = ScriptedEngine(reply=reply)
    async with open_scripted(tmp_path, local=local, own_tools=[send], config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("Write to Anna.")
        await session.regenerate()
        assert sent == ["Anna"]
        results = [m for m in local.requests[-1].messages if m.role == "tool"]
        assert "on another branch" in results[0].content
        assert "Sent to Anna." in results[0].content
        assert [call.state for call in await runtime.journal.list()] == ["finished"]
        await session.ask("Anything else?")
        again = [m for m in local.requests[-1].messages if m.role == "tool"]
    assert len(again) == 1


async def test_another_runtime_reads_the_history_again_after_a_switch(tmp_path: Path) -> None:
    one, two = echo(), echo()
    async with (
        open_scripted(tmp_path, local=one, config=LEXICAL) as first,
        open_scripted(tmp_path, local=two, config=LEXICAL) as second,
    ):
        mine, theirs = first.session("a"), second.session("a")
        await mine.ask("one")
        await theirs.ask("two")
        await mine.edit((await mine.exchanges())[0].turn, "1")
        await theirs.ask("three")
        shown = [message.content for message in two.requests[-1].messages[1:]]
    assert shown == ["1", "answer 2", "three"]


async def test_history_is_that_of_the_branch_in_use(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=echo(), config=LEXICAL) as runtime:
        session = runtime.session("a")
        await session.ask("one")
        await session.regenerate()
        assert await session.history() == [Message("user", "one"), Message("assistant", "answer 2")]
        other = await session.exchanges("main")
        assert other[0].messages[1].content == "answer 1"
