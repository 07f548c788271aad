"""Where an answer ends, which usage counts, and which fragments are one tool call."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

import vanta_openai.stream
from tests.openai.support import (
    FINISH,
    RawServer,
    answer_of,
    engine_at,
    frames,
    request,
    text_frame,
)
from vanta import Completion, EngineError, ErrorKind, ToolCall, Usage
from vanta_openai.stream import END_WAIT_S

pytestmark = pytest.mark.anyio


def chunk(delta: object = None, finish: object = None, usage: object = ..., **rest: Any) -> str:
    body = {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **rest}
    return json.dumps(body if usage is ... else {**body, "usage": usage})


def text(content: str, finish: object = None, usage: object = ...) -> str:
    return chunk({"content": content}, finish, usage)


def used(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": tokens}


async def answer_to(*chunks: str, done: bool = True) -> Completion:
    async with (
        RawServer(frames(*chunks, done=done)) as server,
        engine_at(server.base_url) as engine,
    ):
        return await answer_of(engine)


@pytest.mark.parametrize("done", [True, False], ids=["done", "end of the body"])
@pytest.mark.parametrize(
    ("chunks", "tokens"),
    [
        ([text("", "stop"), text("One "), text("two."), chunk({}, "stop", used(3))], 3),
        (
            [
                text("", "stop", used(0)),
                text("One ", None, used(1)),
                text("two.", None, used(2)),
                chunk({}, "stop", used(3)),
            ],
            3,
        ),
        (
            [
                text("One ", "null", used(1)),
                text("two.", "null", used(2)),
                text("", "stop", used(3)),
            ],
            3,
        ),
        (
            [
                text("One ", None, used(0)),
                text("two.", None, used(1)),
                chunk({}, "stop"),
                chunk(usage=used(57), choices=[]),
            ],
            57,
        ),
        ([text("One "), chunk({}, "stop", used(2)), text("two."), chunk({}, "stop", used(3))], 3),
        ([text("One ", None, None), text("two.", "stop", None), chunk(usage=used(3))], 3),
    ],
    ids=[
        "stop first",
        "usage in every chunk",
        "null as text",
        "usage at last",
        "text after",
        "null",
    ],
)
async def test_an_answer_is_whole_and_its_last_usage_counts(
    chunks: list[str], tokens: int, *, done: bool
) -> None:
    answer = await answer_to(*chunks, done=done)
    assert (answer.text, answer.finish_reason) == ("One two.", "stop")
    assert answer.usage == Usage(20, tokens)


@pytest.mark.parametrize(
    "chunks",
    [
        [text("One ", "null"), text("tw", "null")],
        [text("", "stop"), text("One "), text("tw")],
        [text("One "), text("tw", "unheard_of")],
        [text("One "), text("tw", "")],
    ],
    ids=["null as text", "a reason before the text", "an unknown reason", "an empty reason"],
)
async def test_a_body_that_ends_without_a_known_reason_after_its_text_was_cut(
    chunks: list[str],
) -> None:
    with pytest.raises(EngineError, match="before the answer was complete") as caught:
        await answer_to(*chunks, done=False)
    assert caught.value.kind is ErrorKind.NETWORK


async def test_an_unknown_reason_is_reported_and_not_trusted() -> None:
    with pytest.raises(EngineError, match="'unheard_of' is not part of the protocol"):
        await answer_to(text("One", "unheard_of"), done=False)
    answer = await answer_to(text("One", "unheard_of"))
    assert (answer.text, answer.finish_reason) == ("One", "stop")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("STOP", "stop"), ("end_turn", "stop"), ("MAX_TOKENS", "length"), ("tool_use", "tool_calls")],
)
async def test_reasons_of_other_protocols_are_known(sent: str, expected: str) -> None:
    assert (await answer_to(text("One", sent), done=False)).finish_reason == expected


async def test_a_server_that_neither_ends_nor_closes_delays_the_end_by_a_bounded_time() -> None:
    assert END_WAIT_S <= 3
    body = frames(text("One", "stop"), done=False)
    async with RawServer(body, holds=True) as server, engine_at(server.base_url) as engine:
        assert (await answer_of(engine)).finish_reason == "stop"
        await server.gone.wait()


@pytest.mark.parametrize(
    "keep_alive",
    [": ping\n\n", "data:\n\n", frames(chunk(choices=[]), done=False), frames(FINISH, done=False)],
    ids=["comment", "no data", "no choice", "the reason again"],
)
async def test_keep_alives_after_a_finish_reason_do_not_delay_the_end(keep_alive: str) -> None:
    body = frames(text("One"), FINISH, done=False)
    async with (
        RawServer(body, repeats=keep_alive) as server,
        engine_at(server.base_url) as engine,
    ):
        await engine.load()
        with anyio.fail_after(END_WAIT_S + 4):
            answer = await answer_of(engine)
    assert (answer.text, answer.finish_reason) == ("One", "stop")


async def test_an_answer_that_ends_before_it_began_is_waited_for_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 10 <= vanta_openai.stream.EMPTY_WAIT_S <= 30
    monkeypatch.setattr("vanta_openai.stream.EMPTY_WAIT_S", 0.5)
    body = frames(FINISH, done=False)
    async with (
        RawServer(body, repeats=": ping\n\n") as server,
        engine_at(server.base_url) as engine,
    ):
        await engine.load()
        with anyio.fail_after(5):
            answer = await answer_of(engine)
    assert (answer.text, answer.finish_reason) == ("", "stop")


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": -1},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        {"prompt_tokens": 10**300, "completion_tokens": 10**300},
        {"prompt_tokens": 1e308, "completion_tokens": 1e308},
        {"prompt_tokens": 12},
        {"completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": "many"},
    ],
    ids=str,
)
async def test_counts_that_are_impossible_are_replaced_by_estimates(usage: dict[str, Any]) -> None:
    answer = await answer_to(text("word " * 40), chunk({}, "stop", usage))
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert not answer.usage.exact
    assert 1 <= answer.usage.input_tokens <= 30
    assert 40 <= answer.usage.output_tokens <= 60


async def test_counts_under_the_names_of_another_protocol_are_read() -> None:
    usage = {"input_tokens": 12, "output_tokens": 40, "input_tokens_details": {"cached_tokens": 4}}
    answer = await answer_to(text("word " * 40), chunk({}, "stop", usage))
    assert answer.usage == Usage(12, 40, 4)


async def test_a_receipt_is_exact_only_if_its_counts_are_believed() -> None:
    body = frames(text("word " * 40), chunk({}, "stop", {"prompt_tokens": 0}))
    async with (
        RawServer(body) as server,
        engine_at(server.base_url) as engine,
        engine.stream(request()) as stream,
    ):
        usage = [delta async for delta in stream][-1].usage
    assert stream.receipt is not None
    assert usage is not None
    assert not stream.receipt.exact
    assert stream.receipt.output_tokens == usage.output_tokens


def call(call_id: str, name: str, arguments: object, **index: object) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**index, "id": call_id, "type": "function", "function": function}


WEATHER = ToolCall("A1", "weather", '{"city":"Oslo"}')
CLOCK = ToolCall("B2", "clock", '{"zone":"CET"}')


def calls_of(*calls: dict[str, Any]) -> str:
    return chunk({"tool_calls": list(calls)})


def as_sent(expected: ToolCall, **index: object) -> dict[str, Any]:
    return call(expected.id, expected.name, expected.arguments, **index)


@pytest.mark.parametrize(
    "chunks",
    [
        [calls_of(as_sent(WEATHER)), calls_of(as_sent(CLOCK))],
        [calls_of(as_sent(WEATHER, index=0)), calls_of(as_sent(CLOCK, index=0))],
        [calls_of(as_sent(WEATHER, index=0), as_sent(CLOCK, index=0))],
        [calls_of(as_sent(WEATHER, index=None), as_sent(CLOCK, index=None))],
        [calls_of(as_sent(WEATHER, index=3)), calls_of(as_sent(CLOCK, index=1))],
        [
            calls_of(call("A1", "weather", '{"city"', index=0)),
            calls_of({"index": 0, "function": {"arguments": ':"Oslo"}'}}),
            calls_of(call("B2", "clock", '{"zone"', index=0)),
            calls_of({"index": 0, "function": {"arguments": ':"CET"}'}}),
        ],
        [
            calls_of(call("A1", "weather", '{"city"')),
            calls_of({"function": {"arguments": ':"Oslo"}'}}),
            calls_of(call("B2", "clock", '{"zone":"CET"}')),
        ],
        [
            calls_of(call("A1", "weather", '{"city"', index=0), call("B2", "clock", "", index=1)),
            calls_of({"index": 1, "function": {"arguments": '{"zone":"CET"}'}}),
            calls_of(call("A1", "", ':"Oslo"}', index=0)),
        ],
    ],
    ids=["no index", "always 0", "in one chunk", "null", "odd", "parts at 0", "parts", "woven"],
)
async def test_parallel_tool_calls_stay_apart(chunks: list[str]) -> None:
    answer = await answer_to(*chunks, chunk({}, "tool_calls"))
    assert answer.tool_calls == (WEATHER, CLOCK)
    assert answer.finish_reason == "tool_calls"


async def test_calls_without_index_and_id_begin_with_their_names() -> None:
    answer = await answer_to(
        calls_of(call("", "weather", "{"), call("", "clock", "{}")), chunk({}, "tool_calls")
    )
    assert [(item.name, item.arguments) for item in answer.tool_calls] == [
        ("weather", "{"),
        ("clock", "{}"),
    ]


async def test_a_call_without_arguments_is_kept() -> None:
    answer = await answer_to(calls_of(call("A1", "weather", None, index=None)), text_frame(""))
    assert answer.tool_calls == (ToolCall("A1", "weather", ""),)
