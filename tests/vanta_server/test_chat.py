"""Chat completions through OpenAI's own client: whole, streamed, with tools, broken, left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

import vanta
from tests.vanta_server.served import Served, ask, served
from vanta import ErrorKind
from vanta.testing import CallTool, Fail, Hang, Pause, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Return the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


async def chunks(server: Served, text: str, **rest: Any) -> list[ChatCompletionChunk]:
    """Stream a completion to its end."""
    async with server.client() as client:
        messages: Any = [{"role": "user", "content": text}]
        stream = await client.chat.completions.create(
            model=rest.pop("model", "vanta"), messages=messages, stream=True, **rest
        )
        return [chunk async for chunk in stream]


def text_of(items: list[ChatCompletionChunk], number: int = 0) -> str:
    return "".join(
        choice.delta.content or ""
        for item in items
        for choice in item.choices
        if choice.index == number
    )


async def test_no_character_of_an_answer_ends_a_line_of_the_stream(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\u0085four\u001cfive"
    async with served(tmp_path, local=ScriptedEngine(text)) as server:
        answer = await server.post(ask("Hi", stream=True))
    lines = [line for line in answer.text.splitlines() if line]
    sent = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert lines[-1] == "data: [DONE]"
    deltas = [choice["delta"] for chunk in sent for choice in chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == text


async def test_a_whole_answer_names_who_answered(tmp_path: Path) -> None:
    engine = ScriptedEngine("Hello there")
    async with served(tmp_path, local=engine) as server, server.client() as client:
        answer = await client.chat.completions.create(
            model="vanta", messages=[{"role": "user", "content": "Hi"}]
        )
    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert answer.model_extra is not None
    assert answer.model_extra["vanta"]["track"] == "local"


async def test_a_stream_has_the_same_text_and_ends_with_usage(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("One two three")) as server:
        items = await chunks(server, "Count", stream_options={"include_usage": True})
    assert text_of(items) == "One two three"
    assert items[0].choices[0].delta.role == "assistant"
    assert [item.choices[0].finish_reason for item in items if item.choices][-1] == "stop"
    assert items[-1].usage is not None
    assert len({item.id for item in items}) == 1


async def test_a_broken_track_is_taken_over_without_the_client_noticing(tmp_path: Path) -> None:
    broken = ScriptedEngine("One two", Fail(ErrorKind.NETWORK))
    sound = ScriptedEngine("One two three four")
    async with served(tmp_path, api=broken, local=sound) as server:
        items = await chunks(server, "Count", model="vanta/prefer")
        whole = await server.post(ask("Count", model="vanta/prefer"))
    assert text_of(items) == "One two three four"
    assert whole.json()["choices"][0]["message"]["content"] == "One two three four"
    assert whole.json()["vanta"]["takeovers"] == 1


async def test_the_callers_tools_are_returned_and_run_by_no_one(tmp_path: Path) -> None:
    def reply(request: vanta.GenerationRequest) -> list[Any]:
        last = request.messages[-1]
        return [last.content] if last.role == "tool" else [CallTool("look_up", '{"city": "Oslo"}')]

    async with served(tmp_path, local=ScriptedEngine(reply=reply)) as server:
        async with server.client() as client:
            messages: list[Any] = [{"role": "user", "content": "Weather?"}]
            first = await client.chat.completions.create(
                model="vanta", messages=messages, tools=[WEATHER]
            )
            call: Any = (first.choices[0].message.tool_calls or [])[0]
            messages += [
                first.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
            ]
            second = await client.chat.completions.create(
                model="vanta", messages=messages, tools=[WEATHER]
            )
        items = await chunks(server, "Weather?", tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    assert "sunny" in (second.choices[0].message.content or "")
    streamed = [call for item in items for call in item.choices[0].delta.tool_calls or ()]
    assert [(call.index, call.function.name if call.function else "") for call in streamed] == [
        (0, "look_up")
    ]


async def test_several_answers_have_seeds_of_their_own(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply=lambda request: [f"seed {request.sampling.seed}"])
    async with served(tmp_path, local=engine) as server:
        items = await chunks(server, "Hi", n=3, seed=7)
    assert [text_of(items, number) for number in range(3)] == ["seed 7", "seed 8", "seed 9"]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (ErrorKind.CONTEXT_OVERFLOW, 400, "context_length_exceeded"),
        (ErrorKind.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (ErrorKind.OVERLOADED, 503, "overloaded"),
        (ErrorKind.NETWORK, 502, "all_tracks_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_fails_has_the_status_of_its_cause(
    kind: ErrorKind, status: int, code: str, stream: bool, tmp_path: Path
) -> None:
    engine = ScriptedEngine(Fail(kind))
    async with served(tmp_path, local=engine, config={"retries": 0}) as server:
        answer = await server.post(ask("Hi", stream=stream))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status in (429, 503))


async def test_an_error_in_the_middle_is_an_event_and_no_end(tmp_path: Path) -> None:
    engine = ScriptedEngine("One two", Fail(ErrorKind.NETWORK))
    async with served(tmp_path, local=engine, config={"retries": 0}) as server:
        answer = await server.post(ask("Hi", stream=True))
        with pytest.raises(openai.APIError, match="no track could answer"):
            await chunks(server, "Hi")
    assert answer.status_code == 200
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"model": "vanta"}, "messages"),
        ({"messages": "Hi"}, "messages"),
        (ask("Hi", n=0), "n"),
        (ask("Hi", temperature="hot"), "temperature"),
        (ask("Hi", tool_choice={"type": "function"}), "tool_choice"),
        (ask("Hi", response_format={"type": "json_schema"}), "response_format"),
        ({"messages": []}, None),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, None),
        ({"messages": [{"role": "tool", "content": "Hi", "tool_call_id": "x"}]}, None),
    ],
)
async def test_a_wrong_request_is_refused_by_the_name_of_its_field(
    body: Any, param: str | None, tmp_path: Path
) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        answer = await server.post(body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert error["message"]


async def test_fields_without_effect_are_named(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        answer = await server.post(ask("Hi", prediction={"type": "content"}, store=True))
    assert answer.json()["vanta"]["ignored"] == ["prediction", "store"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_its_turn(stream: bool, tmp_path: Path) -> None:
    engine = ScriptedEngine("One", Hang()) if stream else ScriptedEngine(Hang())
    async with served(tmp_path, local=engine, config={"deadline_s": 600}) as server:
        with anyio.move_on_after(1.0):
            await server.post(ask("Hi", stream=stream), timeout=600)
        with anyio.fail_after(10):
            await engine.runs[0].stopped.wait()
    assert engine.runs[0].cancelled


async def test_a_silent_stream_is_kept_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vanta_server.http import ResponseStream

    gate = anyio.Event()
    monkeypatch.setattr(ResponseStream.keep_alive, "__defaults__", (0.05,))
    engine = ScriptedEngine(Wait(gate), "Late")
    async with served(tmp_path, local=engine) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(_open_later, gate)
        answer = await server.post(ask("Hi", stream=True))
    assert ": keep-alive" in answer.text
    assert "Late" in answer.text


async def _open_later(gate: anyio.Event) -> None:
    await anyio.sleep(0.3)
    gate.set()


async def test_text_that_is_replaced_is_sent_once_it_is_final(tmp_path: Path) -> None:
    local = ScriptedEngine("The capital of Australia is Sydney, with 5 million people.")
    api = ScriptedEngine(Pause(0.05), "No. It is Canberra, with 400 thousand.")
    async with served(tmp_path, local=local, api=api) as server:
        items = await chunks(server, "Which city?", model="vanta/refine")
    assert text_of(items) == "No. It is Canberra, with 400 thousand."
