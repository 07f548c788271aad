"""Text that another process removed is sent by none, and privacy is lowered by a word only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import vanta
import vanta.memory
from tests.runtime.home import open_scripted
from vanta.memory import Selection
from vanta.testing import HashEmbedder, ScriptedEngine, Wait, hash_plugin

pytestmark = pytest.mark.anyio

SECRET = "The treasure lies under the Zanzibarquay oak."
LEXICAL = {"memory": {"embedder": "none"}}


class CountingEngine(ScriptedEngine):
    """Counts how often it was made to forget."""

    forgotten = 0

    async def forget(self) -> None:
        self.forgotten += 1


def sent(engine: ScriptedEngine) -> str:
    """Return the text of the latest request."""
    return "\n".join(message.content for message in engine.requests[-1].messages)


@asynccontextmanager
async def two(folder: Path, **config: Any) -> AsyncIterator[Any]:
    """Two runtimes on one data directory, like two processes, and the first one's engine."""
    engine = CountingEngine("ok")
    tables = {**LEXICAL, **config}
    async with (
        open_scripted(folder, local=engine, config=dict(tables)) as first,
        open_scripted(folder, local=ScriptedEngine("ok"), config=dict(tables)) as second,
    ):
        yield first, second, engine


async def test_what_another_runtime_forgets_is_not_sent(tmp_path: Path) -> None:
    async with two(tmp_path) as (first, second, engine):
        session = first.session("s", user="ada")
        await session.ask(SECRET)
        await session.ask("And?")
        assert SECRET in sent(engine)
        await second.memory.forget(Selection("ada", everything=True))
        await session.ask("And now?")
        assert "Zanzibarquay" not in sent(engine)
        assert engine.forgotten == 1
        await session.ask("And later?")
        assert engine.forgotten == 1, "once for each time that something is forgotten"


async def test_what_another_runtime_clears_is_not_sent(tmp_path: Path) -> None:
    async with two(tmp_path, memory={"enabled": False}) as (first, second, engine):
        mine, other = first.session("s"), first.session("s", user="bob")
        await mine.ask(SECRET)
        await other.ask("Remember the harbour.")
        await second.session("s").clear()
        await mine.ask("And now?")
        assert "Zanzibarquay" not in sent(engine)
        await other.ask("And?")
        assert "harbour" in sent(engine), "another user's history stays"
        assert engine.forgotten == 0, "clearing is not forgetting"


async def test_a_turn_that_waits_for_its_place_reads_again_what_was_removed(
    tmp_path: Path,
) -> None:
    cleared = anyio.Event()
    engine = ScriptedEngine(scripts=[["ok"], [Wait(cleared), "once"], ["ok"]])
    config = {"memory": {"enabled": False}}
    async with (
        open_scripted(tmp_path, local=engine, config=dict(config)) as first,
        open_scripted(tmp_path, local=ScriptedEngine("ok"), config=dict(config)) as second,
        anyio.create_task_group() as tasks,
    ):
        session = first.session("s")
        await session.ask(SECRET)
        tasks.start_soon(session.ask, "A long story, please.")
        await engine.run(1)
        tasks.start_soon(session.ask, "And then?")
        await anyio.wait_all_tasks_blocked()
        await second.session("s").clear()
        cleared.set()
        await engine.run(2)
    assert "And then?" in sent(engine)
    assert "Zanzibarquay" not in sent(engine)


async def test_forgetting_in_its_own_runtime_drops_caches_once(tmp_path: Path) -> None:
    async with two(tmp_path) as (first, _, engine):
        await first.session("s").ask(SECRET)
        await first.memory.forget(Selection("default", everything=True))
        await first.session("s").ask("And now?")
        assert "Zanzibarquay" not in sent(engine)
        assert engine.forgotten == 1


async def test_prompts_that_were_forgotten_since_the_last_turn_are_dropped_at_the_end(
    tmp_path: Path,
) -> None:
    """An engine may save them when it is closed."""
    async with two(tmp_path) as (first, second, engine):
        await first.session("s").ask(SECRET)
        await second.memory.forget(Selection("default", everything=True))
        assert engine.forgotten == 0
    assert engine.forgotten == 1


FORGET = """
import anyio, sys, vanta
from vanta.memory import Selection

async def main():
    config = {"data_dir": sys.argv[1], "memory": {"embedder": "none"}}
    async with vanta.open(config) as runtime:
        print((await runtime.memory.forget(Selection("default", everything=True))).removed.messages)

anyio.run(main)
"""


async def test_a_real_process_forgets(tmp_path: Path) -> None:
    engine = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=engine, config=dict(LEXICAL)) as runtime:
        await runtime.session("s").ask(SECRET)
        command = [sys.executable, "-c", FORGET, str(tmp_path)]
        run = await anyio.to_thread.run_sync(
            lambda: subprocess.run(command, capture_output=True, text=True, check=True)
        )
        assert run.stdout.strip() == "2"
        await runtime.session("s").ask("And now?")
    assert "Zanzibarquay" not in sent(engine)


async def test_a_private_session_stays_private_without_a_word(tmp_path: Path) -> None:
    local, api = ScriptedEngine("safe"), ScriptedEngine("seen")
    async with open_scripted(tmp_path, local=local, api=api, config=dict(LEXICAL)) as runtime:
        await runtime.session("s", private=True).ask(SECRET, policy="race")
        reply = await runtime.session("s").ask("And?", policy="race")
        assert (reply.track, reply.trace.private) == ("local", True)
        assert api.requests == []
    local, api = ScriptedEngine("safe"), ScriptedEngine("seen")
    async with open_scripted(tmp_path, local=local, api=api, config=dict(LEXICAL)) as runtime:
        session = runtime.session("s")
        assert not session.private
        await session.refresh()
        assert session.private
        reply = await session.ask("And later?", policy="race")
        assert (reply.track, reply.trace.private) == ("local", True)
        assert api.requests == []
        other = await runtime.session("s", user="bob").ask("Hello.", policy="api")
        assert other.track == "api"


async def test_a_private_session_becomes_public_by_a_word(tmp_path: Path) -> None:
    local, api = ScriptedEngine("safe"), ScriptedEngine("seen")
    async with open_scripted(tmp_path, local=local, api=api, config=dict(LEXICAL)) as runtime:
        await runtime.session("s", private=True).ask(SECRET, policy="race")
        once = await runtime.session("s").ask("One turn.", private=False, policy="api")
        assert once.track == "api"
        assert runtime.session("s").private, "a turn's own word is for that turn"
        reply = await runtime.session("s", private=False).ask("And?", policy="api")
        assert reply.track == "api"
        again = await runtime.session("s").ask("And then?", policy="api")
        assert again.track == "api"
    assert "Zanzibarquay" not in "".join(m.content for r in api.requests for m in r.messages)


async def test_a_question_that_private_text_may_answer_is_not_sent_to_an_embedder(
    tmp_path: Path,
) -> None:
    embedder = HashEmbedder()
    embedder.private = False
    config = {"memory": {"embedder": "hash", "index": "none"}}
    async with open_scripted(
        tmp_path, local=ScriptedEngine("ok"), config=config, plugins=[hash_plugin(embedder)]
    ) as runtime:
        assert runtime.memory is not None
        await runtime.session("a").ask("The harbour is closed.")
        await runtime.memory.ready(vanta.memory.Scope("default"))
        await runtime.session("b").ask("Is the harbour open?")
        assert "Is the harbour open?" in embedder.texts, "there is no private text"
        await runtime.session("c").ask(SECRET, private=True)
        reply = await runtime.session("d").ask("What lies under the Zanzibarquay oak?")
        assert reply.trace.private
        assert reply.trace.recall is not None
        assert "may be private" in reply.trace.recall.skipped
        other = await runtime.session("d", user="bob").ask("What lies under the oak of Bob?")
        assert not other.trace.private
    assert not any("Zanzibarquay" in text for text in embedder.texts)
    assert "What lies under the oak of Bob?" in embedder.texts
