"""Reasoning in content, content in parts, and refused roles, over real sockets and whole turns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

import vanta
from tests.openai.support import FINISH, RawServer, answer_of, engine_at, frames, request
from tests.runtime.test_on_sockets import two_servers
from vanta.engine import GenerationRequest
from vanta.errors import AllTracksFailed, EngineError
from vanta.events import LegFailed, Takeover
from vanta.messages import Message
from vanta.scheduling.policy import LegPlan, Policy
from vanta.testing import Behaviour, Say, ScriptedEngine, Upstream, scripted_plugin

pytestmark = pytest.mark.anyio

THOUGHT = ["<think>", "\nHm, 2+2. ", "secret plan", "</think>", "\n\n", "Four", "."]
SYSTEM, ASKED = Message("system", "Be brief."), Message("user", "2+2?")


def chunk(content: Any, **rest: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content, **rest}}]})


def thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


@pytest.mark.parametrize(
    "contents",
    [
        [[thinking("The user greets.")], [{"type": "text", "text": "Good "}], "morning."],
        [[thinking("The user "), thinking("greets."), {"type": "text", "text": "Good morning."}]],
        ["[THINK]The user", " greets.[/THI", "NK]Good morning."],
        ["<th", "ink>The user greets.</think>\n", "\nGood morning."],
    ],
)
async def test_reasoning_is_apart_from_the_text(contents: list[Any]) -> None:
    body = frames(*map(chunk, contents), FINISH)
    async with RawServer(body) as server, engine_at(server.base_url) as engine:
        answer = await answer_of(engine)
    assert (answer.text, answer.reasoning) == ("Good morning.", "The user greets.")
    assert answer.finish_reason == "stop"


async def test_details_of_reasoning_are_reasoning_and_other_parts_are_ignored() -> None:
    details = [{"type": "reasoning.summary", "summary": "Hm."}, {"type": "reasoning.encrypted"}]
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    body = frames(chunk("", reasoning_details=details), chunk([image]), chunk("Four."), FINISH)
    async with RawServer(body) as server, engine_at(server.base_url) as engine:
        answer = await answer_of(engine)
    assert (answer.text, answer.reasoning) == ("Four.", "Hm.")


async def test_a_whole_completion_is_split_as_well() -> None:
    message = {"role": "assistant", "content": "<think>Hm.</think>\n\nFour."}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    async with (
        RawServer(body, content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        answer = await answer_of(engine)
    assert (answer.text, answer.reasoning) == ("Four.", "Hm.")


async def test_an_option_is_for_servers_whose_template_opens_the_reasoning() -> None:
    body = frames(chunk("Hm."), chunk("</think>\n\nFour."), FINISH)
    async with RawServer(body) as server:
        async with engine_at(server.base_url, opens_reasoning=True) as engine:
            opened = await answer_of(engine)
        async with engine_at(server.base_url) as engine:
            plain = await answer_of(engine)
    assert (opened.text, opened.reasoning) == ("Four.", "Hm.")
    assert plain.text == "Hm.</think>\n\nFour."


async def test_a_continued_answer_may_begin_with_a_mark() -> None:
    body = frames(chunk("<think> is a tag."), FINISH)
    options: dict[str, Any] = {"prefix_continuation": True, "opens_reasoning": True}
    async with RawServer(body) as server, engine_at(server.base_url, **options) as engine:
        answer = await answer_of(engine, request(prefix="The tag "))
    assert answer.text == "<think> is a tag."


async def test_reasoning_does_not_win_a_race_and_is_neither_shown_nor_stored(
    tmp_path: Path,
) -> None:
    rest_may_come = anyio.Event()
    thinks = Behaviour.answer(THOUGHT, gates={4: rest_may_come})
    async with two_servers(tmp_path, Behaviour.answer("4, of course."), thinks) as servers:
        runtime, _near, far = servers
        raced = await runtime.session("s").ask("2+2?", policy="race")
        rest_may_come.set()
        alone = await runtime.session("t").ask("2+2?", track="api")
        await runtime.session("t").ask("sure?", track="api")
        history = await runtime.session("t").history()
        bodies = [json.dumps(exchange.body) for exchange in far.chats]
    assert (raced.track, raced.text) == ("local", "4, of course.")
    assert (alone.text, alone.reasoning.strip()) == ("Four.", "Hm, 2+2. secret plan")
    assert "secret" not in str([message.content for message in history])
    assert all("secret" not in body for body in bodies)


async def test_an_answer_of_reasoning_alone_fails_over(tmp_path: Path) -> None:
    endless = Behaviour.answer(["<think>", "for ever"])
    async with two_servers(tmp_path, endless, Behaviour.answer("Four.")) as (runtime, *_):
        reply = await runtime.session("s").ask("2+2?", policy="race")
    assert (reply.track, reply.text) == ("api", "Four.")


async def test_an_answer_that_breaks_after_its_reasoning_is_taken_over(tmp_path: Path) -> None:
    words = [*THOUGHT[:5], "one ", "two ", "three ", "four"]
    breaks = Behaviour.cut(7, words)
    rest = Behaviour.answer(["three ", "four"])
    async with (
        two_servers(tmp_path, rest, breaks) as (runtime, *_),
        runtime.session("s").stream("go", policy="prefer") as turn,
    ):
        events = [event async for event in turn]
    assert turn.reply.text == "one two three four"
    assert [event.from_track for event in events if isinstance(event, Takeover)] == ["api"]


async def test_a_takeover_that_thinks_first_continues_the_answer(tmp_path: Path) -> None:
    near = Behaviour.cut(7, [*THOUGHT[:5], "one ", "two ", "three ", "four"])
    far = Behaviour.answer(["<think>", "again", "</think>", "\n\n", "one two ", "three ", "four"])
    legs = (LegPlan("local"), LegPlan("api", start_after_s=30.0))
    policy = Policy("in turn", "the api only if the local track breaks", legs)
    async with (
        two_servers(tmp_path, near, far) as (runtime, *_),
        runtime.session("s").stream("go", policy=policy) as turn,
    ):
        events = [event async for event in turn]
    assert turn.reply.text == "one two three four"
    assert [event.track for event in events if isinstance(event, Takeover)] == ["api"]


async def test_an_adapter_that_passes_marks_through_is_covered_by_the_leg(tmp_path: Path) -> None:
    plugin = scripted_plugin(local=ScriptedEngine(*map(Say, THOUGHT)))
    tracks = {"local": {"engine": "scripted", "model": "m"}, "api": {"enabled": False}}
    config = {"data_dir": str(tmp_path), "policy": "local", "tracks": tracks}
    async with vanta.open(config, plugins=[plugin]) as runtime:
        reply = await runtime.session("s").ask("2+2?")
    assert (reply.text, "secret" in reply.reasoning) == ("Four.", True)


def refusal(message: str) -> Behaviour:
    return Behaviour.failure(400, message, kind="BadRequestError")


async def test_a_refused_system_role_is_sent_in_the_first_message(tmp_path: Path) -> None:
    refused = refusal("System role not supported")
    async with two_servers(tmp_path, Behaviour.answer("no"), Behaviour.answer("no")) as servers:
        runtime, _near, far = servers
        far.always(refused)
        far.then(Behaviour.answer("Four."))
        async with runtime.session("s").stream("2+2?", track="api") as turn:
            events = [event async for event in turn]
        await runtime.session("s").ask("sure?", track="api")
        roles = [
            [message["role"] for message in (await far.chat(number)).body["messages"]]
            for number in range(3)
        ]
    assert turn.reply.text == "Four."
    assert [event for event in events if isinstance(event, LegFailed)] == []
    assert roles == [["system", "user"], ["user"], ["user", "assistant", "user"]]


async def test_a_server_that_refuses_every_form_fails_with_its_own_words() -> None:
    refused = refusal("Conversation roles must alternate user/assistant")
    async with Upstream(default=refused) as server, engine_at(server.base_url) as engine:
        generation = GenerationRequest((SYSTEM, ASKED))
        resends = []
        for _ in range(3):
            with pytest.raises(EngineError, match="must alternate") as error:
                await answer_of(engine, generation)
            resends.append(error.value.resend)
        done = engine.stats()["roles"]
    assert resends == [True, False, False]
    assert "system prompt is put into the first user message" in done


@pytest.mark.parametrize(
    ("roles", "sent"),
    [
        ("as_given", ["system", "user", "user"]),
        ("alternating", ["system", "user"]),
        ("no_system", ["user"]),
    ],
)
async def test_the_option_roles_decides_the_form(roles: str, sent: list[str]) -> None:
    async with Upstream() as server, engine_at(server.base_url, roles=roles) as engine:
        await answer_of(engine, GenerationRequest((SYSTEM, ASKED, ASKED)))
        body = (await server.chat()).body
    assert [message["role"] for message in body["messages"]] == sent


async def test_a_turn_with_reasoning_alone_names_the_cause(tmp_path: Path) -> None:
    endless = Behaviour.answer(["<think>", "for ever"], finish_reason="length")
    async with two_servers(tmp_path, endless, endless) as (runtime, *_):
        with pytest.raises(AllTracksFailed, match="token limit was reached before any readable"):
            await runtime.session("s").ask("2+2?", policy="race")
