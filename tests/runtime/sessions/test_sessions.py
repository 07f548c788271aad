"""Sessions: listed, searched, renamed, deleted, exported, and what they keep for their turns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.home import open_scripted
from vanta import Sampling
from vanta.errors import AllTracksFailed, ErrorKind, UnknownName, UsageError
from vanta.testing import CallTool, Fail, ScriptedEngine

pytestmark = pytest.mark.anyio
OFF: dict[str, Any] = {"memory": {"enabled": False}}


async def test_sessions_are_listed_the_latest_first_with_their_figures(tmp_path: Path) -> None:
    local = ScriptedEngine(
        reply=lambda _: [Fail(ErrorKind.SERVER) if len(local.runs) == 5 else "ok"]
    )
    config = {**OFF, "retries": 0}
    async with open_scripted(tmp_path, local=local, config=config) as runtime:
        await runtime.session("one").ask("What is the capital\nof France? " + "x" * 80)
        await runtime.session("two").ask("Second")
        await runtime.session("one").ask("More")
        await runtime.session("other", user="bob").ask("Bob's")
        with pytest.raises(AllTracksFailed):
            await runtime.session("failed").ask("never answered")
        first, second = await runtime.sessions()
        assert (first.id, first.turns, second.id, second.turns) == ("one", 2, "two", 1)
        assert first.title.startswith("What is the capital of France? xxx")
        assert first.title.endswith("…")
        assert not first.renamed
        assert first.started_at is not None
        assert first.last_at is not None
        assert first.started_at < first.last_at
        assert [item.id for item in await runtime.sessions(user=None)] == ["other", "one", "two"]
        assert [item.id for item in await runtime.sessions(limit=1)] == ["one"]


async def test_a_session_has_the_title_that_it_was_given(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=OFF) as runtime:
        session = runtime.session("a")
        await session.rename("  Empty yet ")
        assert (await runtime.sessions())[0].title == "Empty yet"
        await session.ask("hi")
        info = await session.info()
        assert (info.title, info.renamed, info.turns) == ("Empty yet", True, 1)
        await session.rename("")
        assert ((await session.info()).title, (await session.info()).renamed) == ("hi", False)
        for title in ("two\nlines", "x" * 201):
            with pytest.raises(UsageError, match="one line of at most 200"):
                await session.rename(title)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("lisbon", ["trip"]),
        ("LISBON sister", ["trip"]),
        ("sister porto", []),
        ("ÄRGER", ["german"]),
        ("ärger", ["german"]),
        ("100%", []),
        ("50%", ["german"]),
        ("_", []),
        ("ledger", ["titled"]),
        ("", ["titled", "german", "trip"]),
    ],
)
async def test_sessions_are_found_by_the_words_of_a_message(
    tmp_path: Path, words: str, found: list[str]
) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=OFF) as runtime:
        await runtime.session("trip").ask("My sister lives in Lisbon, in an old house.")
        await runtime.session("german").ask("So viel Ärger, zu 50% umsonst")
        await runtime.session("titled").ask("Hello")
        await runtime.session("titled").rename("The Ledger")
        sessions = await runtime.sessions(search=words)
    assert [session.id for session in sessions] == found
    if found == ["trip"]:
        assert "Lisbon, in an old house" in sessions[0].match


async def test_a_replaced_message_is_found_too(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=OFF) as runtime:
        session = runtime.session("a")
        await session.ask("Lisbon")
        await session.edit((await session.exchange()).turn, "Porto")
        assert [info.match for info in await runtime.sessions(search="lisbon")] == ["Lisbon"]
        assert (await session.info()).turns == 2


async def test_private_text_is_listed_and_searched_on_request_only(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=OFF) as runtime:
        await runtime.session("diary", private=True).ask("My secret is green.")
        mixed = runtime.session("mixed")
        await mixed.ask("The weather is fine.")
        await mixed.ask("My secret is blue.", private=True)
        await runtime.session("all").ask("Only a secret here.", private=True)
        (shown,) = await runtime.sessions()
        assert (shown.id, shown.title, shown.turns) == ("mixed", "The weather is fine.", 1)
        assert await runtime.sessions(search="secret") == []
        every = await runtime.sessions(search="secret", private=True)
        assert [info.id for info in every] == ["all", "mixed", "diary"]
        assert [info.private for info in every] == [False, False, True]


async def test_a_deleted_session_is_gone_and_its_name_stays_private(tmp_path: Path) -> None:
    local, api = ScriptedEngine("ok"), ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=local, api=api, policy="race", config=OFF) as runtime:
        session = runtime.session("diary", private=True)
        await session.ask("one")
        await session.regenerate()
        await session.rename("Title")
        assert await session.delete() == 4
        assert await runtime.sessions(private=True) == []
        assert await session.history() == []
        again = runtime.session("diary")
        await again.ask("two")
        assert not api.requests
        assert (await again.info()).title == "two"
        assert len(await runtime.store.records(session="diary")) == 3


async def test_what_a_session_keeps_counts_in_another_process(tmp_path: Path) -> None:
    templates = tmp_path / "templates" / "system"
    templates.mkdir(parents=True)
    (templates / "pirate.j2").write_text("You are a pirate called {{ name }}.")
    first = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=first, config=OFF) as runtime:
        session = runtime.session(
            "a",
            system="pirate",
            variables={"name": "Jack"},
            sampling=Sampling(temperature=0.25, stop=("x",), logit_bias={7: -1.0}),
            keep=True,
        )
        await session.ask("hi")
        await runtime.session("b", system="pirate", variables={"name": "Bo"}).ask("hi")
    second = ScriptedEngine("ok")
    async with open_scripted(tmp_path, local=second, config=OFF) as runtime:
        await runtime.session("a").ask("again")
        await runtime.session("a").ask("hot", sampling=Sampling(temperature=0.9))
        await runtime.session("b").ask("again")
        await runtime.session("a", keep=True).ask("reset")
        await runtime.session("a").ask("once more")
    prompts = [request.messages[0].content for request in second.requests]
    assert ["pirate" in prompt for prompt in prompts] == [True, True, False, False, False]
    assert "called Jack" in prompts[0]
    samplings = [request.sampling for request in (*first.requests[:1], *second.requests)]
    assert [item.temperature for item in samplings[:3]] == [0.25, 0.25, 0.9]
    assert (samplings[1].stop, dict(samplings[1].logit_bias)) == (("x",), {7: -1.0})
    assert samplings[4].temperature != 0.25


async def test_variables_that_are_not_data_cannot_be_kept(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=OFF) as runtime:
        with pytest.raises(UsageError, match="cannot be kept"):
            runtime.session("a", variables={"x": object()}, keep=True)


async def test_an_export_has_all_branches_and_calls_and_traces_on_request(tmp_path: Path) -> None:
    def add(a: int, b: int) -> int:
        """Add numbers."""
        return a + b

    def reply(request: Any) -> list[Any]:
        results = [message for message in request.messages if message.role == "tool"]
        return ["It is 5. ```"] if results else [CallTool("add", '{"a": 2, "b": 3}')]

    local = ScriptedEngine(reply=reply)
    async with open_scripted(tmp_path, local=local, own_tools=[add], config=OFF) as runtime:
        session = runtime.session("a")
        await session.ask("What is 2 + 3?")
        await session.edit((await session.exchange()).turn, "And 2 + 3?")
        plain = [json.loads(line) for line in (await session.export()).splitlines()]
        whole = [
            json.loads(line)
            for line in (await session.export(calls=True, traces=True)).splitlines()
        ]
        text = await session.export("markdown", calls=True, traces=True)
        with pytest.raises(UnknownName, match="no format of an export is named 'yaml'"):
            await session.export("yaml")  # type: ignore[arg-type]
    assert [line["type"] for line in plain] == [
        "session",
        *("branch", "message", "message") * 2,
    ]
    assert [line["content"] for line in plain if line["type"] == "message"] == [
        "What is 2 + 3?",
        "It is 5. ```",
        "And 2 + 3?",
        "It is 5. ```",
    ]
    assert [line["active"] for line in plain if line["type"] == "branch"] == [False, True]
    kinds = [line["type"] for line in whole]
    assert (kinds.count("call"), kinds.count("turn"), kinds.count("message")) == (1, 2, 8)
    assert [line["role"] for line in whole if "tool_call_id" in line and "role" in line] == [
        "tool",
        "tool",
    ]
    assert text.startswith("# What is 2 + 3?")
    assert text.count("> It is 5. ```") == 2
    assert "## Branch '2': turn" in text
    assert "program.add" in text


async def test_an_unknown_session_has_no_figures(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=OFF) as runtime:
        info = await runtime.session("none").info()
        assert (info.id, info.turns, info.title, info.started_at) == ("none", 0, "", None)
        assert (await runtime.session("none").export()).count("\n") == 2
        assert await runtime.session("none").delete() == 0
        assert await runtime.sessions() == []
