"""Deviations of real servers from the protocol: each gives one answer, or one clear error."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from tests.openai.support import (
    FINISH,
    RawServer,
    answer_of,
    deltas_of,
    engine_at,
    frames,
    request,
    text_frame,
)
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, ToolCall, Usage
from vanta.testing import Behaviour, Upstream
from vanta_openai.engine import OpenAIEngine

pytestmark = pytest.mark.anyio


async def answer_to(body: str) -> Completion:
    async with RawServer(body) as server, engine_at(server.base_url) as engine:
        return await answer_of(engine)


async def error_after(body: str) -> tuple[str, EngineError]:
    """Return the text before the error, and the error."""
    async with RawServer(body) as server, engine_at(server.base_url) as engine:
        return await read_to_error(engine)


async def read_to_error(engine: OpenAIEngine) -> tuple[str, EngineError]:
    text = ""
    try:
        async with engine.stream(request()) as stream:
            async for delta in stream:
                text += delta.text
    except EngineError as error:
        return text, error
    pytest.fail(f"no error came after {text!r}")


def chunk(delta: object, **rest: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, **rest}]})


async def test_a_stream_without_done_is_whole_if_it_has_a_finish_reason() -> None:
    answer = await answer_to(frames(text_frame("hi"), FINISH, done=False))
    assert (answer.text, answer.finish_reason) == ("hi", "stop")


async def test_a_stream_with_done_is_whole_without_a_finish_reason() -> None:
    answer = await answer_to(frames(text_frame("hi")))
    assert (answer.text, answer.finish_reason) == ("hi", "stop")


async def test_tool_calls_with_done_and_no_finish_reason_end_as_tool_calls() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
    answer = await answer_to(frames(chunk({"tool_calls": [call]})))
    assert answer.tool_calls == (ToolCall("c", "f", '{"a": 1}'),)
    assert answer.finish_reason == "tool_calls"


async def test_a_stream_that_ends_with_neither_was_cut() -> None:
    text, error = await error_after(frames(text_frame("hi"), done=False))
    assert text == "hi"
    assert error.kind is ErrorKind.NETWORK
    assert "before the answer was complete" in str(error)


async def test_an_empty_stream_was_cut() -> None:
    _, error = await error_after("")
    assert error.kind is ErrorKind.NETWORK


async def test_role_only_and_empty_deltas_are_skipped() -> None:
    behaviour = Behaviour.answer("one two", role_delta=True, empty_deltas=3)
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        assert [delta.text for delta in await deltas_of(engine)] == ["one", " two", ""]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_kept_apart_under_either_name(field: str) -> None:
    behaviour = Behaviour.answer("42", reasoning="so long", reasoning_field=field)
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        answer = await answer_of(engine)
    assert (answer.reasoning, answer.text) == ("so long", "42")


async def test_reasoning_under_both_names_at_once_is_not_doubled() -> None:
    both = chunk({"reasoning": "hm", "reasoning_content": "hm", "content": None})
    assert (await answer_to(frames(both, FINISH))).reasoning == "hm"


async def test_a_refusal_is_text() -> None:
    assert (await answer_to(frames(chunk({"refusal": "No."}), FINISH))).text == "No."


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
    ],
)
async def test_an_unknown_finish_reason_becomes_a_known_one(sent: str, expected: str) -> None:
    answer = await answer_to(frames(chunk({"content": "x"}, finish_reason=sent)))
    assert (answer.text, answer.finish_reason) == ("x", expected)


async def test_usage_in_a_last_chunk_without_choices_is_read() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    last = json.dumps({"choices": [], "usage": usage})
    assert (await answer_to(frames(text_frame("x"), FINISH, last))).usage == Usage(5, 1, 4)


async def test_a_first_chunk_without_choices_is_accepted() -> None:
    filtered = '{"choices": [], "prompt_filter_results": []}'
    assert (await answer_to(frames(filtered, text_frame("x"), FINISH))).text == "x"


async def test_nulls_in_place_of_values_are_accepted() -> None:
    nulls = '{"choices": [{"delta": {"content": null, "tool_calls": null}, "logprobs": null}]}'
    bare = '{"choices": [{"finish_reason": null}], "usage": null, "model": null, "error": null}'
    assert (await answer_to(frames(nulls, bare, text_frame("x"), FINISH))).text == "x"


async def test_comments_keep_alives_and_other_line_ends_are_skipped() -> None:
    body = f": hello\r\n\r\ndata:\r\n\r\ndata: {text_frame('x')}\r\n\r\n: ping\r\n\r\n"
    body += f"event: message\r\ndata:{FINISH}\r\n\r\ndata: [DONE]\r\n\r\n"
    assert (await answer_to(body)).text == "x"


async def test_a_body_that_continues_after_the_answer_does_not_delay_closing() -> None:
    async with (
        RawServer(frames(text_frame("x"), FINISH), holds=True) as server,
        engine_at(server.base_url) as engine,
    ):
        assert (await answer_of(engine)).text == "x"
        await server.gone.wait()


async def test_data_after_the_end_is_not_read() -> None:
    assert (await answer_to(frames(text_frame("x"), FINISH) + frames("{broken"))).text == "x"


@pytest.mark.parametrize(
    "bad",
    [
        '{"choices": [{"delta": {"conte',
        "[1, 2]",
        '{"choices": 3}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"choices": [{"delta": {"tool_calls": [null]}}]}',
    ],
)
async def test_a_malformed_chunk_is_a_server_error(bad: str) -> None:
    text, error = await error_after(frames(text_frame("x"), bad, FINISH))
    assert text == "x"
    assert error.kind is ErrorKind.SERVER
    assert "malformed" in error.message


async def test_a_malformed_chunk_closes_the_connection() -> None:
    async with Upstream(Behaviour.malformed(1)) as upstream, engine_at(upstream.base_url) as engine:
        with pytest.raises(EngineError, match="malformed"):
            await answer_of(engine)
        await (await upstream.chat()).gone.wait()


@pytest.mark.parametrize("shape", ["object", "string", "wrapped"])
@pytest.mark.parametrize("code", [500, "500", None, "server_error"])
async def test_an_error_chunk_after_status_200_is_an_error(
    shape: Literal["object", "string", "wrapped"], code: int | str | None
) -> None:
    behaviour = Behaviour.error_frame(1, message="it burns", code=code, shape=shape)
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        text, error = await read_to_error(engine)
    assert text == "one"
    assert error.kind is ErrorKind.SERVER
    assert "it burns" in str(error)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ('{"error": {"code": 429, "message": "slow"}}', ErrorKind.RATE_LIMITED),
        ('{"error": {"type": "rate_limit_exceeded", "message": ""}}', ErrorKind.RATE_LIMITED),
        ('{"error": {"type": "overloaded_error", "message": "x"}}', ErrorKind.OVERLOADED),
        (
            '{"error": {"type": "exceed_context_size_error", "message": "x"}}',
            ErrorKind.CONTEXT_OVERFLOW,
        ),
        ('{"object": "error", "message": "old vLLM", "code": 500}', ErrorKind.SERVER),
        ('{"choices": [{"delta": {}, "finish_reason": "error"}]}', ErrorKind.SERVER),
    ],
)
async def test_an_error_chunk_has_the_kind_that_it_reports(frame: str, kind: ErrorKind) -> None:
    _, error = await error_after(frames(text_frame("x"), frame))
    assert error.kind is kind


async def test_an_error_event_is_an_error() -> None:
    _, error = await error_after('event: error\ndata: {"message": "out of memory"}\n\n')
    assert "out of memory" in str(error)


async def test_an_error_as_plain_json_with_status_200_is_an_error() -> None:
    body = '{"error": {"message": "no such thing", "code": 404}}'
    async with (
        RawServer(body, content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="no such thing") as caught:
            await answer_of(engine)
    assert caught.value.kind is ErrorKind.MODEL_NOT_FOUND


async def test_a_web_page_with_status_200_suggests_checking_the_base_url() -> None:
    async with (
        RawServer("<html>Welcome</html>", content_type="text/html") as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="base_url") as caught:
            await answer_of(engine)
    assert caught.value.kind is ErrorKind.SERVER
