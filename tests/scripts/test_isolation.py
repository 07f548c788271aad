"""A script's memory is isolated from other scripts, other days and its user."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from vanta.api import open as open_runtime
from vanta.engine import GenerationRequest
from vanta.errors import EmbedderError, ScriptError, UnknownName, UnreadableDocument
from vanta.memory import Scope
from vanta.runtime import Runtime
from vanta.testing import HashEmbedder, ScriptedEngine, hash_plugin, scripted_plugin
from vanta_scripts import RunOptions, Script, Suite, check_names, parse_script, run_script
from vanta_scripts.cassette import Player, Recorder

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]


def script(turns: str, head: str = "", source: str = "scene.yaml") -> Script:
    return parse_script(f"name: scene\n{head}\nturns:\n{turns}", source=source)


def echo(request: GenerationRequest) -> list[str]:
    return [f"You said: {request.messages[-1].content.rpartition('</notes>')[2].strip()}"]


@asynccontextmanager
async def open_one_track(
    folder: Path, engine: ScriptedEngine, embedder: HashEmbedder | None = None, **config: Any
) -> AsyncIterator[Runtime]:
    """Open a runtime with one private track, and with semantic recall if it has an embedder."""
    settings = {
        "data_dir": str(folder),
        "policy": "local",
        "memory": {"embedder": "hash" if embedder else "none"},
        "tracks": {"local": {"engine": "scripted", "model": "m", "private": True}},
        **config,
    }
    plugins = [scripted_plugin(local=engine), *([hash_plugin(embedder)] if embedder else [])]
    async with open_runtime(settings, plugins=plugins) as runtime:
        yield runtime


ASKS = "- {say: What is the cat called?, session: other, expect: {%s}}"


@pytest.mark.parametrize("parallel", [1, 8])
async def test_scripts_do_not_recall_each_other(parallel: int, tmp_path: Path) -> None:
    names = [f"Cat{number}" for number in range(8)]
    scripts = [
        script(
            f"- say: The cat is called {name}.\n"
            + ASKS % f"recalled: {name}, not_recalled: [{', '.join(set(names) - {name})}]"
        )
        for name in names
    ]
    async with open_one_track(tmp_path, ScriptedEngine(reply=echo), HashEmbedder()) as runtime:
        report = await Suite(runtime, scripts, RunOptions(parallel=parallel, repeat=2)).run()
    assert report.passed, [run.describe() for run in report.results if not run.passed]


async def test_a_script_does_not_touch_its_users_memory(tmp_path: Path) -> None:
    patient = {"embedder": "none", "recall_timeout_s": 30}
    async with open_one_track(tmp_path, ScriptedEngine(reply=echo), memory=patient) as runtime:
        await runtime.session("mine", user="ada").ask("The cat is called Miso, says the vet.")
        scene = script(
            "- say: The cat is called Tiger.\n" + ASKS % "recalled: Tiger, not_recalled: Miso",
            "user: ada",
        )
        result = await run_script(runtime, scene)
        assert result.passed, result.describe()
        assert runtime.memory is not None
        known = await runtime.memory.recent(Scope("ada", private=True))
        assert [item.text for item in known if "Tiger" in item.text] == []
        assert await runtime.session(result.session, user="ada").history() == []
        assert len(await runtime.store.records(session=result.session)) == 1


async def test_a_continued_session_uses_its_users_memory(tmp_path: Path) -> None:
    patient = {"embedder": "none", "recall_timeout_s": 30}
    async with open_one_track(tmp_path, ScriptedEngine(reply=echo), memory=patient) as runtime:
        await runtime.session("mine", user="ada").ask("The cat is called Miso, says the vet.")
        goes_on = script(
            "- {say: What is the cat called?, expect: {recalled: [1, Miso]}}",
            "session: another\nuser: ada",
        )
        result = await run_script(runtime, goes_on)
        assert result.passed, result.describe()
        assert len(await runtime.session("another", user="ada").history()) == 2


async def test_every_run_sends_the_engine_the_same_prompts_on_any_day(tmp_path: Path) -> None:
    scene = script(
        "- {say: The cat was at the vet yesterday., session: one}\n"
        "- {say: When was the cat at the vet?, session: two}\n"
        "- {say: And is the cat at the vet today?, session: three, at: 2026-01-20}"
    )
    prompts = []
    for number in range(2):
        engine = ScriptedEngine(reply=echo)
        async with open_one_track(tmp_path / str(number), engine, HashEmbedder()) as runtime:
            for _ in range(2):
                await run_script(runtime, scene)
        sent = [request.messages for request in engine.requests]
        prompts += [sent[:3], sent[3:]]
    assert prompts[0] == prompts[1] == prompts[2] == prompts[3]
    last = prompts[0][2][-1].content
    assert re.search("5 Jan 2026|2026-01-05", last)
    assert re.search(r"yesterday.*(\b4 Jan|2026-01-04)", last)


async def test_messages_are_embedded_before_the_next_turn(tmp_path: Path) -> None:
    embedder = HashEmbedder()
    scene = script(
        "- {say: Good morning., session: one}\n- {say: And now?, session: two}",
        "fixtures: {memories: [The cat is called Miso.]}",
    )
    async with open_one_track(tmp_path, ScriptedEngine("Yes."), embedder) as runtime:
        await run_script(runtime, scene)
    texts = [text for text in embedder.texts if text]
    assert texts.index("The cat is called Miso.") < texts.index("Good morning.")
    # Embedded as a query, then as a message, and only then the next query.
    assert [texts.count("Good morning."), texts[-1]] == [2, "And now?"]


async def test_a_slow_embedder_changes_no_result(tmp_path: Path) -> None:
    slowly = HashEmbedder(before=lambda: anyio.sleep(0.25))
    scene = script(
        ASKS % "recalled: cat", "fixtures: {memories: [{id: cat, text: The cat is Miso.}]}"
    )
    async with open_one_track(tmp_path, ScriptedEngine("Miso."), slowly) as runtime:
        result = await run_script(runtime, scene)
    assert result.passed, result.describe()
    (turn,) = result.turns
    assert turn.reply is not None
    assert turn.reply.trace.recall is not None
    assert turn.reply.trace.recall.skipped == ""


async def test_recall_falls_back_to_words_when_the_embedder_fails(tmp_path: Path) -> None:
    async def fails() -> None:
        raise EmbedderError("no power")

    scene = script(
        ASKS % "recalled: cat", "fixtures: {memories: [{id: cat, text: The cat is Miso.}]}"
    )
    async with open_one_track(
        tmp_path, ScriptedEngine("Miso."), HashEmbedder(before=fails)
    ) as runtime:
        result = await run_script(runtime, scene)
    assert result.passed, result.describe()
    (turn,) = result.turns
    assert turn.reply is not None
    assert turn.reply.trace.recall is not None
    assert "no power" in turn.reply.trace.recall.skipped


async def test_a_result_lists_the_recalled_memories(tmp_path: Path) -> None:
    head = "fixtures: {memories: [{text: The cat is Miso., source: vet}]}"
    async with open_one_track(tmp_path, ScriptedEngine("Miso.")) as runtime:
        result = await run_script(runtime, script("- say: Is the cat Miso?\n- say: Bye", head))
    first = result.to_dict()["turns"][0]["recalled"]
    assert first == [{"id": 1, "from": "vet", "text": "The cat is Miso."}]


async def test_fixtures_have_their_own_user_session_and_time(tmp_path: Path) -> None:
    head = (
        "user: ada\nat: 2026-03-02\nfixtures:\n  memories:\n"
        "  - {text: The cat is Miso., role: user, session: one, at: 2026-02-01}\n"
        "  - {text: The cat is Tiger., user: bob}"
    )
    engine = ScriptedEngine("I see.")
    async with open_one_track(tmp_path, engine) as runtime:
        turns = "- {say: The cat?, expect: {recalled: Miso, not_recalled: Tiger}}\n"
        turns += "- {say: The cat?, user: bob, expect: {recalled: Tiger, not_recalled: Miso}}"
        result = await run_script(runtime, script(turns, head))
    assert result.passed, result.describe()
    (item,) = result.turns[0].recalled
    assert (item.kind, item.role, item.session) == ("message", "user", f"{result.session}/one")
    assert item.said_at == 1769904000
    assert result.turns[1].recalled[0].said_at == 1772409600


async def test_a_broken_document_is_an_error_before_the_first_turn(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    scene = script(
        "- say: a", "fixtures: {documents: [broken.pdf]}", source=str(tmp_path / "s.yaml")
    )
    async with open_one_track(tmp_path, ScriptedEngine("x")) as runtime:
        with pytest.raises(UnreadableDocument, match=r"broken\.pdf"):
            await run_script(runtime, scene)


@pytest.mark.parametrize(
    ("head", "expect", "why"),
    [
        ("fixtures: {memories: [a]}", "track: local", "'fixtures' need a memory, but there is"),
        ("", "recalled: a", r"'recalled' in line 4 needs a memory.*memory\.enabled is false"),
        ("", "similar_to: a", r"'similar_to' cannot be judged.*memory\.enabled is false"),
        ("", "similar_to: {text: a, embedder: hsh}", "no embedder is named 'hsh'.*'hash'"),
    ],
)
async def test_scripts_that_need_memory_are_refused_without_one(
    head: str, expect: str, why: str, tmp_path: Path
) -> None:
    engine = ScriptedEngine("x")
    async with open_one_track(
        tmp_path, engine, HashEmbedder(), memory={"enabled": False}
    ) as runtime:
        with pytest.raises((ScriptError, UnknownName), match=why):
            check_names(script(f"- {{say: a, expect: {{{expect}}}}}", head), runtime)
        if head:
            with pytest.raises(ScriptError, match=why):
                await run_script(runtime, script("- say: a", head))
        result = await run_script(runtime, script("- {say: a, expect: {not_recalled: b}}"))
        assert result.passed


async def test_a_missing_document_is_refused_before_the_first_turn(
    tmp_path: Path,
) -> None:
    async with open_one_track(tmp_path, ScriptedEngine("x")) as runtime:
        with pytest.raises(ScriptError, match=r"there is no document 'no\.md' in 'fixtures'"):
            check_names(script("- say: a", "fixtures: {documents: [no.md]}"), runtime)


@pytest.mark.parametrize("name", ["../secret.md", "/etc/hostname", "link.md"])
async def test_a_document_outside_the_scripts_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text("the code is 1234")
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    scene = script("- say: a", f"fixtures: {{documents: [{name}]}}", source=str(folder / "s.yaml"))
    async with open_one_track(tmp_path, ScriptedEngine("x")) as runtime:
        with pytest.raises(ScriptError, match="outside the script's folder"):
            check_names(scene, runtime)


async def test_a_run_with_memories_plays_back(tmp_path: Path) -> None:
    scene = script(
        "- {say: The cat is called Miso., session: one}\n" + ASKS % "recalled: Miso",
        "fixtures: {memories: [The vet is open.]}",
    )
    recorder = Recorder()
    async with open_one_track(tmp_path, ScriptedEngine(reply=echo)) as runtime:
        first = await Suite(runtime, [scene], tape=recorder).run()
    assert first.passed
    player = Player(recorder.cassette)
    config = {"data_dir": str(tmp_path / "played"), "policy": "local", "tracks": player.tracks}
    config["memory"] = {"embedder": "none"}
    async with open_runtime(config, plugins=[player]) as runtime:
        again = await Suite(runtime, [player.recast(scene)], tape=player).run()
    assert again.passed, [run.describe() for run in again.results]


async def test_a_named_embedder_is_created_once_and_closed(tmp_path: Path) -> None:
    own, other = HashEmbedder(), HashEmbedder(name="other", dimension=8)
    likeness = "{text: one two, embedder: other}"
    turns = f"- {{say: a, expect: {{similar_to: {likeness}}}}}\n" * 2
    turns += "- {say: b, expect: {similar_to: one two}}"
    settings = {"data_dir": str(tmp_path), "policy": "local", "memory": {"embedder": "hash"}}
    settings["tracks"] = {"local": {"engine": "scripted", "model": "m"}}
    plugins = [scripted_plugin(local=ScriptedEngine("one two")), hash_plugin(own)]
    second = hash_plugin(other)
    second.name = "second"
    async with open_runtime(settings, plugins=[*plugins, second]) as runtime:
        result = await run_script(runtime, script(turns))
        assert result.passed, result.describe()
        assert (other.loaded, other.closed, own.closed) == (True, True, False)
