"""Calls that servers leave in their text, and servers that ignore which calls have to be made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import vanta
from tests.tools.test_rounds import Counted
from vanta import AllTracksFailed, ErrorKind, TurnOptions
from vanta.runtime import Runtime
from vanta.testing import Behaviour, Upstream

pytestmark = pytest.mark.anyio

CALL = '<tool_call>\n{"name": "look_up", "arguments": {"city": "Rome"}}\n</tool_call>'


def pieces(text: str) -> list[str]:
    """Return a text in pieces of seven characters."""
    return [text[start : start + 7] for start in range(0, len(text), 7)]


def answer(text: str) -> Behaviour:
    """Return the behaviour of a server that streams a text."""
    return Behaviour.answer(pieces(text))


@asynccontextmanager
async def agent_at(
    folder: Path, counted: Counted, **answers: tuple[Behaviour, ...]
) -> AsyncIterator[tuple[Runtime, list[Upstream]]]:
    """Open a runtime with a server for each track, which gives its answers in order."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Upstream(*item)) for item in answers.values()]
        tracks = {
            name: {
                "engine": "openai",
                "model": "test-model",
                "private": True,
                "options": {"base_url": server.base_url},
            }
            for name, server in zip(answers, servers, strict=True)
        }
        config = {"data_dir": str(folder), "tracks": tracks, "retries": 0, "policy": "hedge"}
        async with vanta.open(config, own_tools=counted.tools) as runtime:
            yield runtime, servers


async def test_a_call_that_a_server_leaves_in_the_text_is_run(tmp_path: Path) -> None:
    counted, first = Counted(), answer(f"One moment.\n{CALL}")
    async with agent_at(tmp_path, counted, local=(first, answer("It rains."))) as (
        runtime,
        servers,
    ):
        reply = await runtime.session("a").ask("Weather?", track="local")
        body = (await servers[0].chat(1)).body
    assert counted.runs == {"look_up Rome": 1}
    assert reply.text == "One moment.\n\nIt rains."
    called = next(message for message in body["messages"] if message.get("tool_calls"))
    assert called["content"] == "One moment.\n"
    assert called["tool_calls"][0]["function"]["arguments"] == '{"city": "Rome"}'


async def test_a_call_that_the_server_sends_and_leaves_in_the_text_runs_once(
    tmp_path: Path,
) -> None:
    sent = Behaviour.calls("look_up", '{"city": "Rome"}')
    both = vanta.testing.Behaviour(
        deltas=(vanta.Delta(text=CALL), *sent.deltas), finish_reason="tool_calls"
    )
    counted = Counted()
    async with agent_at(tmp_path, counted, local=(both, answer("It rains."))) as (runtime, _):
        reply = await runtime.session("a").ask("Weather?", track="local")
    assert (counted.runs, reply.text) == ({"look_up Rome": 1}, "It rains.")
    assert len(reply.trace.calls) == 1


async def test_a_broken_call_in_the_text_is_corrected_by_the_model(tmp_path: Path) -> None:
    broken = answer('<tool_call>\n{"name": "look_up", "arguments": {"city": }}\n</tool_call>')
    counted = Counted()
    async with agent_at(tmp_path, counted, local=(broken, answer(CALL), answer("It rains."))) as (
        runtime,
        servers,
    ):
        reply = await runtime.session("a").ask("Weather?", track="local")
        body = (await servers[0].chat(1)).body
    assert (counted.runs, reply.text) == ({"look_up Rome": 1}, "It rains.")
    assert "not JSON" in str(body["messages"][-1]["content"])


async def test_an_explanation_of_a_format_runs_nothing(tmp_path: Path) -> None:
    text = f"Write this:\n```\n{CALL}\n```\nThen wait."
    counted = Counted()
    async with agent_at(tmp_path, counted, local=(answer(text),)) as (runtime, _):
        reply = await runtime.session("a").ask("How?", track="local")
    assert (counted.runs, reply.text) == ({}, text)


@pytest.mark.parametrize("choice", ["required", "look_up"])
@pytest.mark.parametrize(
    "ignores", [answer("It is sunny."), Behaviour.calls("send", '{"to": "Anna"}')]
)
async def test_an_answer_without_the_required_call_is_no_answer(
    choice: str, ignores: Behaviour, tmp_path: Path
) -> None:
    """The other track is asked; nothing of the first answer is shown or run."""
    if choice == "required" and ignores.finish_reason == "tool_calls":
        return
    counted = Counted()
    answers = {"local": (ignores,), "api": (answer(CALL), answer("It rains."))}
    async with agent_at(tmp_path, counted, **answers) as (runtime, _):
        options = TurnOptions(tool_choice=choice)
        reply = await runtime.session("a").ask("Weather?", options=options)
    failed = reply.trace.legs[0]
    assert failed.error is not None
    assert (failed.track, failed.error["kind"]) == ("local", "no_call")
    assert (reply.track, reply.text) == ("api", "It rains.")
    assert counted.runs == {"look_up Rome": 1}


async def test_the_error_of_a_missing_call_names_it(tmp_path: Path) -> None:
    async with agent_at(tmp_path, Counted(), local=(answer("It is sunny."),)) as (runtime, _):
        options = TurnOptions(track="local", tool_choice="look_up")
        with pytest.raises(AllTracksFailed) as failed:
            await runtime.session("a").ask("Weather?", options=options)
    (cause,) = failed.value.causes
    assert cause.kind is ErrorKind.NO_CALL
    assert "the tool 'look_up', and it did not call any tool" in str(cause)


async def test_without_parallel_calls_one_of_several_is_run(tmp_path: Path) -> None:
    two = answer(CALL + CALL.replace("Rome", "Oslo"))
    for parallel, runs in ((None, 2), (False, 1)):
        counted = Counted()
        async with agent_at(tmp_path, counted, local=(two, answer("It rains."))) as (
            runtime,
            servers,
        ):
            options = TurnOptions(track="local", parallel_tool_calls=parallel)
            reply = await runtime.session("a").ask("Weather?", options=options)
            body = (await servers[0].chat(0)).body
        assert (sum(counted.runs.values()), reply.text) == (runs, "It rains.")
        assert body.get("parallel_tool_calls") is parallel
