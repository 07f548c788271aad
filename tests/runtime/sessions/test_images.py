"""Turns with images: which tracks take part, what each is sent, and what is kept of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.pictures import picture
from tests.runtime.home import open_scripted
from vanta import ErrorKind, Message, NoTrack, TurnOptions
from vanta.memory import Scope, Selection
from vanta.testing import CallTool, Fail, ScriptedEngine
from vanta.testing.scripted import ALL
from vanta.tools import result_of

pytestmark = pytest.mark.anyio
SEES = replace(ALL, images=True)
CAT, DOG = picture(30, 30, salt=1), picture(40, 20, salt=2)
NOTE = "[an image that is not shown here: image/png, 30x30 pixels]"


def eye(*script: Any, **rest: Any) -> ScriptedEngine:
    """An engine whose model can see."""
    return ScriptedEngine(*script, capabilities=SEES, **rest)


def asked(engine: ScriptedEngine, number: int = -1) -> Message:
    return engine.requests[number].messages[-1]


async def test_a_blind_track_takes_no_part_in_a_turn_with_an_image(tmp_path: Path) -> None:
    local, api = ScriptedEngine("blind"), eye("A cat.")
    async with open_scripted(tmp_path, local=local, api=api, policy="race") as runtime:
        reply = await runtime.session("s").ask(["What is this?", CAT])
        plain = await runtime.session("t").ask("Hi", track="local")
    assert (reply.track, reply.text) == ("api", "A cat.")
    assert "'scripted-1' cannot see" in reply.trace.skipped["local"]
    assert asked(api).parts[-1] == CAT
    assert plain.track == "local"


async def test_a_turn_whose_every_track_is_blind_says_why_and_what_to_do(tmp_path: Path) -> None:
    local = ScriptedEngine("blind")
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        session = runtime.session("s")
        with pytest.raises(NoTrack, match=r"cannot see.*`images = true`") as caught:
            await session.ask([CAT])
        assert await session.history() == []
    assert caught.value.unable
    assert not local.requests


async def test_another_track_that_sees_takes_over_with_the_image(tmp_path: Path) -> None:
    cut = eye("It is a ", Fail(ErrorKind.NETWORK))
    api = eye("It is a cat.")
    async with open_scripted(tmp_path, local=cut, api=api, policy="hedge") as runtime:
        reply = await runtime.session("s").ask(["What?", CAT])
    assert reply.text.endswith("cat.")
    assert any(message.images == (CAT,) for message in api.requests[0].messages)


async def test_a_blind_track_reads_a_line_in_the_place_of_an_earlier_image(tmp_path: Path) -> None:
    local, api = ScriptedEngine("I see none."), eye("A cat.")
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        session = runtime.session("s")
        await session.ask(["What is this?", CAT], track="api")
        await session.ask("And how old?", track="local")
        await session.ask("And how old?", track="api")
    texts = [message.content for message in local.requests[0].messages]
    assert f"What is this?\n{NOTE}" in texts
    assert not any(message.images for message in local.requests[0].messages)
    assert any(message.images == (CAT,) for message in api.requests[1].messages)


async def test_images_are_in_the_history_after_a_restart(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, api=eye("Pets.")) as runtime:
        await runtime.session("s").ask(["This", CAT, "or this?", DOG], track="api")
    again = eye("The second.")
    async with open_scripted(tmp_path, api=again) as runtime:
        session = runtime.session("s")
        assert (await session.history())[0].parts == ("This", CAT, "or this?", DOG)
        await session.ask("Which is larger?", track="api")
    assert again.requests[0].messages[-3].parts == ("This", CAT, "or this?", DOG)


async def test_regenerate_sends_the_image_again_and_edit_replaces_it(tmp_path: Path) -> None:
    api = eye(scripts=[["A cat."], ["A kitten."], ["A dog."]])
    async with open_scripted(tmp_path, api=api) as runtime:
        session = runtime.session("s")
        await session.ask(["What?", CAT], track="api")
        again = await session.regenerate(track="api")
        branches = await session.branches()
        await session.edit(again.trace.turn_id, ["What?", DOG], TurnOptions(track="api"))
        history = await session.history()
    assert [asked(api, number).images for number in range(3)] == [(CAT,), (CAT,), (DOG,)]
    assert [branch.kind for branch in branches] == ["main", "regenerate"]
    assert [message.images for message in history] == [(DOG,), ()]


def bytes_kept(folder: Path, image: vanta.Image) -> bool:
    """Whether a file of the store has the image, as the store writes it."""
    data = image.url.partition(",")[2].encode()
    return any(data in file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("removal", ["clear", "delete", "forget"])
async def test_no_byte_of_an_image_is_kept_once_its_message_is_removed(
    tmp_path: Path, removal: str
) -> None:
    async with open_scripted(tmp_path, api=eye("A cat.")) as runtime:
        session = runtime.session("s", user="ada")
        await session.ask(["What is this?", CAT], track="api")
        assert bytes_kept(tmp_path, CAT)
        if removal == "forget":
            assert runtime.memory is not None
            await runtime.memory.forget(Selection("ada", everything=True))
        else:
            assert await getattr(session, removal)() == 2
        assert await session.history() == []
    with closing(sqlite3.connect(tmp_path / "vanta.db")) as database:
        kept = database.execute("SELECT count(*) FROM messages").fetchone()
    assert kept == (0,)
    if removal == "forget":
        assert not bytes_kept(tmp_path, CAT)


async def test_an_export_has_the_images(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, api=eye("A cat.")) as runtime:
        session = runtime.session("s")
        await session.ask(["What?", CAT], track="api")
        lines = [json.loads(line) for line in (await session.export()).splitlines()]
        page = await session.export("markdown")
    (message,) = [line for line in lines if line.get("role") == "user"]
    assert vanta.read_message(message).parts == ("What?", CAT)
    assert NOTE in page
    assert "base64" not in page


async def test_memory_takes_and_seeks_words_only(tmp_path: Path) -> None:
    api = eye("A cat.")
    lexical = {"memory": {"embedder": "none"}}
    async with open_scripted(tmp_path, api=api, config=lexical) as runtime:
        session = runtime.session("s")
        await session.ask([CAT], track="api")
        reply = await session.ask(["My cat is called Tom.", CAT], track="api")
        assert runtime.memory is not None
        items = await runtime.memory.newest(Scope("default"))
    assert reply.trace.recall is not None
    assert sorted(item.text for item in items if item.role == "user") == ["My cat is called Tom."]


async def test_an_image_counts_in_the_budget_and_whole_exchanges_are_left_out(
    tmp_path: Path,
) -> None:
    api = eye("Yes.", window=1500)
    async with open_scripted(tmp_path, api=api, config={"memory": {"share": 0.0}}) as runtime:
        session = runtime.session("s")
        for number in range(6):
            await session.ask([f"Picture {number}", picture(salt=number)], track="api")
    sent = [len(request.messages) for request in api.requests]
    assert sent[-1] < 11
    assert all(message.images for message in api.requests[-1].messages if message.role == "user")


async def test_an_image_that_does_not_fit_is_an_overflow_before_it_is_sent(tmp_path: Path) -> None:
    api = eye("Yes.", window=512)
    images = [picture(salt=number) for number in range(4)]
    async with open_scripted(tmp_path, api=api) as runtime:
        with pytest.raises(vanta.AllTracksFailed, match="tokens"):
            await runtime.session("s").ask(["Compare", *images], track="api")
    assert not api.requests


async def test_the_oldest_images_are_left_out_of_a_request_with_too_many(tmp_path: Path) -> None:
    api = eye("Yes.")
    async with open_scripted(tmp_path, api=api) as runtime:
        session = runtime.session("s")
        await session.ask(["old", *[CAT] * 40], track="api")
        await session.ask(["new", *[DOG] * 40], track="api")
    images = [image for message in api.requests[1].messages for image in message.images]
    assert images == [DOG] * 40


async def test_an_image_of_a_private_message_reaches_private_tracks_only(tmp_path: Path) -> None:
    local, api = eye("A cat."), eye("leaked")
    async with open_scripted(tmp_path, local=local, api=api, policy="race") as runtime:
        session = runtime.session("s")
        reply = await session.ask(["My passport", CAT], private=True)
        later = await session.ask("What was it?", track="api")
    assert (reply.track, later.track) == ("local", "api")
    assert not any(message.images for run in api.requests for message in run.messages)


async def test_detectors_cannot_search_an_image_so_its_turn_is_private(tmp_path: Path) -> None:
    local, api = eye("A cat."), eye("leaked")
    config = {"privacy": {"detect": ["secrets"]}}
    async with open_scripted(
        tmp_path, local=local, api=api, policy="race", config=config
    ) as runtime:
        reply = await runtime.session("s").ask(["What?", CAT])
        with pytest.raises(NoTrack, match="detectors cannot search"):
            await runtime.session("t").ask(["What?", CAT], track="api")
    assert reply.track == "local"
    assert reply.trace.private
    assert not api.requests


async def test_a_transcript_with_images_is_answered_and_blind_tracks_take_no_part(
    tmp_path: Path,
) -> None:
    local, api = ScriptedEngine("blind"), eye("A cat.")
    parts: Any = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": CAT.url}},
    ]
    async with open_scripted(tmp_path, local=local, api=api, policy="race") as runtime:
        reply = await runtime.complete([{"role": "user", "content": parts}])
        only = await runtime.complete([Message.of("user", [DOG])])
        parts[1]["image_url"]["url"] = "http://127.0.0.1:1/a.png"
        with pytest.raises(vanta.UsageError, match=r"messages\[0\].*does not fetch"):
            await runtime.complete([{"role": "user", "content": parts}])
    assert (reply.track, only.track) == ("api", "api")
    assert asked(api, 0).parts == ("What?", CAT)
    assert asked(api, 1).parts == (DOG,)


def test_the_synchronous_session_takes_parts(tmp_path: Path) -> None:
    api = eye("A cat.")
    with open_scripted(tmp_path, api=api) as runtime:
        session = runtime.session("s")
        reply = session.ask(["What?", CAT], track="api")
        with session.stream([DOG], track="api") as turn:
            assert list(turn.text())[-1] == "A cat."
    assert reply.text == "A cat."
    assert asked(api).images == (DOG,)


@vanta.tool(effect="read")
def screenshot() -> list[Any]:
    """Return a picture of the screen."""
    return ["the screen", CAT]


ONE_CALL: list[list[CallTool | str]] = [[CallTool("screenshot", "{}")], ["A cat."]]


@pytest.mark.parametrize("sees", [True, False])
async def test_an_image_that_a_tool_returns_reaches_a_model_that_sees(
    tmp_path: Path, sees: bool
) -> None:
    engine = eye(scripts=ONE_CALL) if sees else ScriptedEngine(scripts=ONE_CALL)
    async with open_scripted(tmp_path, api=engine, own_tools=[screenshot]) as runtime:
        session = runtime.session("s")
        await session.ask("What is on the screen?", track="api")
        (result,) = [item for item in await session.history() if item.role == "tool"]
    sent = engine.requests[1].messages[-1]
    assert sent.role == "tool"
    assert "the screen" in sent.content
    assert sent.images == ((CAT,) if sees else ())
    assert (NOTE in sent.content) is not sees
    assert result.images == (CAT,)


async def test_a_tool_that_is_called_directly_returns_its_image(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, api=eye(), own_tools=[screenshot]) as runtime:
        result = await runtime.call_tool("screenshot", {})
    assert result.images == (CAT,)


def test_an_image_that_a_tool_returns_alone_has_a_text_too() -> None:
    assert result_of(CAT).text == "The call returned an image."
    assert result_of([{"x": 1}, DOG]).data == [{"x": 1}]
    assert result_of(vanta.ToolResult("two", images=(CAT, DOG))).images == (CAT, DOG)
    wrong: Any = ["picture"]
    with pytest.raises(vanta.ToolError, match="cannot be shown"):
        result_of(vanta.ToolResult("x", images=wrong))
