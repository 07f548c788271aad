"""Memory in a turn: what each track is shown, and that no memory breaks a turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta.config import load
from vanta.errors import ConfigError, EmbedderError, EngineError, ErrorKind, UnknownName
from vanta.events import MemoryRecalled
from vanta.memory import Selection
from vanta.messages import Message
from vanta.testing import Fail, HashEmbedder, ScriptedEngine, hash_plugin

pytestmark = pytest.mark.anyio

DOG = "My dog is called Biscuit."
ASK = "What is my dog called?"


def shown(engine: ScriptedEngine, request: int = -1) -> str:
    """All that the engine was shown in one request."""
    messages: Sequence[Message] = engine.requests[request].messages
    return "\n".join(message.content for message in messages)


def lexical(**memory: Any) -> dict[str, Any]:
    return {"memory": {"embedder": "none", **memory}}


async def test_both_tracks_are_shown_messages_of_another_session(tmp_path: Path) -> None:
    local, api = ScriptedEngine("ok"), ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, api=api, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        await runtime.session("two").ask(ASK, policy="local")
        await runtime.session("three").ask(ASK, policy="api")
    assert DOG in shown(local)
    assert DOG in shown(api)


async def test_a_race_searches_memory_once_for_all_its_tracks(tmp_path: Path) -> None:
    local, api = ScriptedEngine("ok"), ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, api=api, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        async with runtime.session("two").stream(ASK, policy="race") as turn:
            events = [event async for event in turn]
        recalls = [event for event in events if isinstance(event, MemoryRecalled)]
        reply = turn.reply
    assert len(recalls) == 1
    ids = [identity for identity, _ in recalls[0].found]
    assert reply.trace.recall is not None
    assert [identity for identity, _ in reply.trace.recall.found] == ids
    for context in reply.trace.context.values():
        assert {memory.id for memory in context.memories} <= set(ids)
        assert context.memories


async def test_a_track_is_shown_nothing_if_nothing_fits(tmp_path: Path) -> None:
    """`memory.min_relevance` of 0 shows whatever fits into the budget."""
    everything = lexical(min_relevance=0.0)
    for config, seen in ((lexical(), False), (everything, True)):
        local = ScriptedEngine("ok")
        async with open_scripted(tmp_path / str(seen), local=local, config=config) as runtime:
            await runtime.session("one").ask("We saw the museum of old glass.", policy="local")
            await runtime.session("two").ask("Is the museum of boats open today?", policy="local")
        assert ("old glass" in shown(local)) is seen


async def test_an_answer_is_not_evidence_for_the_question_that_it_answered(tmp_path: Path) -> None:
    bad = "The capital of France can be found on a website."
    local = ScriptedEngine(bad)
    found = None
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        for number in range(6):
            reply = await runtime.session(f"s{number}").ask("What is the capital of France?")
            assert reply.trace.context["local"].memories == ()
            assert bad not in shown(local)
            found = reply.trace.recall
    assert found is not None
    assert found.found, "recall itself still finds them"


async def test_the_message_is_stored_without_its_memories(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        await runtime.session("two").ask(ASK, policy="local")
        history = await runtime.session("two").history()
    assert [message.content for message in history] == [ASK, "ok"]


async def test_a_message_in_the_history_is_not_shown_as_a_memory_too(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        await runtime.session("one").ask(ASK, policy="local")
    assert shown(local).count(DOG) == 1


async def test_a_private_turn_is_recalled_only_if_all_tracks_are_private(
    tmp_path: Path,
) -> None:
    local, api = ScriptedEngine("ok"), ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, api=api, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, private=True)
        await runtime.session("two").ask(ASK, policy="race")
        assert "Biscuit" not in shown(local)
        await runtime.session("three").ask(ASK, policy="api")
        await runtime.session("four").ask(ASK, policy="local")
        assert "Biscuit" in shown(local)
    for request in range(len(api.requests)):
        assert "Biscuit" not in shown(api, request)


async def test_a_reply_made_from_private_text_is_private(tmp_path: Path) -> None:
    local, api = ScriptedEngine("It is Biscuit."), ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, api=api, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, private=True)
        reply = await runtime.session("two").ask(ASK, policy="local")
        await runtime.session("two").ask("Say it again.", policy="api")
        await runtime.session("three").ask(ASK, policy="api")
    assert reply.trace.private
    assert "private turn" in (reply.trace.private_because or "")
    for request in range(len(api.requests)):
        assert "Biscuit" not in shown(api, request)


async def test_a_turn_that_was_shown_private_text_is_private_whatever_its_trace_reports(
    tmp_path: Path,
) -> None:
    refused = Fail(ErrorKind.CONTEXT_OVERFLOW)
    long = "It barks a lot. " * 60
    local = ScriptedEngine(scripts=[[long], [refused], ["It is Biscuit."]])
    config = {**lexical(share=0.8), "tracks": {"local": {"window": 4000}}}
    async with open_scripted(tmp_path, local=local, config=config) as runtime:
        await runtime.session("one").ask(f"{DOG} {long}", private=True)
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert "Biscuit" not in shown(local)
    assert reply.trace.context["local"].memories == ()
    assert reply.trace.context["local"].refused is not None
    assert reply.trace.private
    assert "private turn" in (reply.trace.private_because or "")


async def test_a_reply_made_without_private_text_is_shared(tmp_path: Path) -> None:
    local, api = ScriptedEngine("It is Tuesday."), ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, api=api, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, private=True)
        reply = await runtime.session("two").ask("Which weekday is today?", policy="local")
        await runtime.session("two").ask("Say it again.", policy="api")
    assert not reply.trace.private
    assert "Tuesday" in shown(api)


async def test_a_user_is_never_shown_messages_of_another(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        await runtime.session("one", user="ada").ask(DOG, policy="local")
        await runtime.session("one", user="bob").ask(ASK, policy="local")
    assert "Biscuit" not in shown(local)


async def test_recall_is_semantic_once_the_embedder_is_ready(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    embedder = HashEmbedder()
    config = {"memory": {"embedder": "hash", "index": "none"}}
    plugins = [hash_plugin(embedder)]
    async with open_scripted(tmp_path, local=local, config=config, plugins=plugins) as runtime:
        assert runtime.memory is not None
        await runtime.session("one").ask(DOG, policy="local")
        await runtime.memory.reindex()
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert reply.trace.recall is not None
    assert reply.trace.recall.embedder == "hash"
    assert reply.trace.recall.index == "scan"
    assert embedder.closed


async def test_messages_are_embedded_after_their_turns(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    done = anyio.Event()

    async def seen() -> None:
        if "Hello there." in embedder.texts:
            done.set()

    embedder = HashEmbedder(before=seen)
    config = {"memory": {"embedder": "hash", "index": "none"}}
    plugins = [hash_plugin(embedder)]
    async with open_scripted(tmp_path, local=local, config=config, plugins=plugins) as runtime:
        await runtime.session("one").ask("Hello there.", policy="local")
        with anyio.fail_after(20):
            await done.wait()
    assert "Hello there." in embedder.texts


async def test_a_memory_that_hangs_does_not_delay_the_turn(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    config = lexical(recall_timeout_s=0.05)
    async with open_scripted(tmp_path, local=local, config=config) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        lock = sqlite3.connect(tmp_path / "vanta.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        session = runtime.session("two")
        async with session.stream(ASK, policy="local") as turn:
            async for event in turn:
                if isinstance(event, MemoryRecalled):
                    assert "0.05 s" in event.skipped
                    lock.execute("ROLLBACK")
        lock.close()
        assert turn.reply.text == "ok"
    assert "Biscuit" not in shown(local)


async def test_a_memory_that_is_broken_does_not_break_the_turn(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        await runtime.session("one").ask("And so on.", policy="local")
        await runtime.store.transact(
            lambda connection: connection.exec_driver_sql("DROP TABLE memories_fts")
        )
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert reply.text == "ok"
    assert reply.trace.recall is not None
    assert "memories_fts" in reply.trace.recall.skipped


async def test_an_embedder_that_fails_does_not_break_the_turn(tmp_path: Path) -> None:
    async def fail() -> None:
        raise EmbedderError("no weights. Pull them.")

    local = ScriptedEngine("ok")
    config = {"memory": {"embedder": "hash", "index": "none"}}
    plugins = [hash_plugin(HashEmbedder(before=fail))]
    async with open_scripted(tmp_path, local=local, config=config, plugins=plugins) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert reply.text == "ok"
    assert DOG in shown(local)


async def test_forgotten_text_is_in_no_later_prompt(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        assert runtime.memory is not None
        session = runtime.session("one")
        await session.ask(DOG, policy="local")
        receipt = await runtime.memory.forget(Selection("default", session="one"))
        await session.ask(ASK, policy="local")
        assert "Biscuit" not in shown(local)
    assert receipt.certain, receipt.why


# Every key of [memory] changes something


async def test_disabled_memory_is_absent(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    config = lexical(enabled=False)
    async with open_scripted(tmp_path, local=local, config=config) as runtime:
        assert runtime.memory is None
        assert "memory.enabled" in runtime.memory_off
        await runtime.session("one").ask(DOG, policy="local")
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert reply.trace.recall is None
    assert DOG not in shown(local)


async def test_a_share_of_zero_shows_no_memory(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical(share=0.0)) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert DOG not in shown(local)
    assert reply.trace.recall is None


async def test_a_larger_share_shows_more_memories(tmp_path: Path) -> None:
    numbers = []
    for share in (0.1, 0.6):
        local = ScriptedEngine("ok")
        tracks = {"tracks": {"local": {"window": 1500, "reply_reserve": 200}}}
        config = {**lexical(share=share), **tracks}
        folder = tmp_path / str(share)
        async with open_scripted(folder, local=local, config=config) as runtime:
            for number in range(40):
                await runtime.session(f"s{number}").ask(
                    f"Note {number}: the dog slept for {number} hours on the old red sofa.",
                    policy="local",
                )
            question = "How long was the dog on the old red sofa?"
            reply = await runtime.session("last").ask(question, policy="local")
        context = reply.trace.context["local"]
        numbers.append(len(context.memories))
        assert context.memory_tokens <= 1.2 * share * (context.budget or 0)  # of what is to share
    assert 0 < numbers[0] < numbers[1]


async def test_session_scope_recalls_from_that_session_only(tmp_path: Path) -> None:
    local = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, config=lexical(scope="session")) as runtime:
        await runtime.session("one").ask(DOG, policy="local")
        reply = await runtime.session("two").ask(ASK, policy="local")
    assert reply.trace.recall is not None
    assert DOG not in shown(local)


@pytest.mark.parametrize("key", ["embedder", "index"])
async def test_a_part_that_no_plugin_provides_is_an_error_that_names_it(
    tmp_path: Path, key: str
) -> None:
    config = {"memory": {"embedder": "hash", key: "nonesuch"}}
    with pytest.raises(UnknownName, match="nonesuch"):
        async with open_scripted(
            tmp_path, local=ScriptedEngine("ok"), config=config, plugins=[hash_plugin()]
        ):
            pass


async def test_options_that_do_not_fit_are_an_error_that_lists_them(tmp_path: Path) -> None:
    config = {"memory": {"embedder": "hash", "embedder_options": {"size": 3}}}
    with pytest.raises(ConfigError, match=r"memory\.embedder_options.*size.*dimension"):
        async with open_scripted(
            tmp_path, local=ScriptedEngine("ok"), config=config, plugins=[hash_plugin()]
        ):
            pass


async def test_options_reach_the_embedder(tmp_path: Path) -> None:
    config = {
        "memory": {"embedder": "hash", "embedder_options": {"dimension": 32}, "index": "none"}
    }
    async with open_scripted(
        tmp_path, local=ScriptedEngine("ok"), config=config, plugins=[hash_plugin()]
    ) as runtime:
        assert runtime.memory is not None
        assert runtime.memory.embedder is not None
        assert runtime.memory.embedder.dimension == 32


async def test_auto_takes_the_embedder_with_the_highest_rank(tmp_path: Path) -> None:
    low, high = HashEmbedder(name="low"), HashEmbedder(name="high")
    plugins = [hash_plugin(low, rank=1_000), hash_plugin(high, rank=2_000)]
    plugins[0].name = "low"
    config = {"memory": {"index": "none"}}
    async with open_scripted(
        tmp_path, local=ScriptedEngine("ok"), config=config, plugins=plugins
    ) as runtime:
        assert runtime.memory is not None
        assert runtime.memory.embedder is not None
        assert runtime.memory.embedder is high


def test_a_share_above_everything_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"memory\.share"):
        load({"memory": {"share": 1.5}})


async def test_engines_forget_too_and_one_that_cannot_is_in_the_receipt(tmp_path: Path) -> None:
    class Keeping(ScriptedEngine):
        forgot = 0

        async def forget(self) -> None:
            self.forgot += 1
            if self.forgot > 1:
                raise EngineError(
                    ErrorKind.SERVER,
                    "the disk is gone",
                    engine="scripted",
                    model="m",
                    suggestion="",
                )

    local = Keeping("ok")
    async with open_scripted(tmp_path, local=local, config=lexical()) as runtime:
        assert runtime.memory is not None
        await runtime.session("one").ask(DOG, policy="local")
        everything = Selection("default", everything=True)
        first = await runtime.memory.forget(everything)
        second = await runtime.memory.forget(everything)
    assert first.certain
    assert not second.certain
    assert "the disk is gone" in second.why
