"""Answers, their ends and their connections, over a real socket."""

from __future__ import annotations

import anyio
import pytest

from tests.openai.support import answer_of, deltas_of, engine_at, request
from vanta.engine import GenerationRequest, Receipt, Sampling, Tool
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, Message, ToolCall, ToolCallPart, Usage
from vanta.testing import Behaviour, Upstream

WEATHER = Tool("weather", "The weather", {"type": "object", "properties": {}})

pytestmark = pytest.mark.anyio


async def test_an_answer_has_text_finish_reason_usage_and_model() -> None:
    behaviour = Behaviour.answer("one two three", model="served-model", prompt_tokens=7)
    async with (
        Upstream(behaviour) as upstream,
        engine_at(upstream.base_url) as engine,
        engine.stream(request()) as stream,
    ):
        deltas = [delta async for delta in stream]
    assert [delta.text for delta in deltas[:-1]] == ["one", " two", " three"]
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage == Usage(7, 3)
    assert deltas[-1].model == "served-model"
    assert deltas[-1].timings is not None
    assert deltas[-1].timings.first_token_s is not None
    assert stream.receipt == Receipt(7, 3)


async def test_only_the_last_delta_has_a_finish_reason() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        deltas = await deltas_of(engine)
    assert [bool(delta.finish_reason) for delta in deltas] == [False] * (len(deltas) - 1) + [True]


async def test_tools_and_results_are_sent_and_tool_calls_received_in_parts() -> None:
    tool = Tool("weather", "The weather", {"type": "object", "properties": {}})
    call = ToolCall("call_0", "weather", "{}")
    first = request(tools=(tool,))
    generation = GenerationRequest(
        (
            *first.messages,
            Message("assistant", "", (call,)),
            Message("tool", "rain", tool_call_id="call_0"),
        ),
        tools=first.tools,
    )
    behaviour = Behaviour.calls("weather", '{"city": "Ghent"}')
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        answer = await answer_of(engine, generation)
        sent = (await upstream.chat()).body
    assert answer.tool_calls == (ToolCall("call_1", "weather", '{"city": "Ghent"}'),)
    assert answer.finish_reason == "tool_calls"
    assert sent["tools"][0]["function"]["name"] == "weather"
    assert sent["messages"][1]["tool_calls"][0]["id"] == "call_0"
    assert sent["messages"][2] == {"role": "tool", "content": "rain", "tool_call_id": "call_0"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
    ],
)
async def test_a_tool_choice_is_sent_with_the_tools(choice: str, sent: object) -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        await answer_of(engine, request(tools=(WEATHER,), tool_choice=choice))
        body = (await upstream.chat()).body
    assert body.get("tool_choice") == sent
    assert "parallel_tool_calls" not in body


async def test_without_tools_no_choice_is_sent() -> None:
    """OpenAI refuses both fields without tools."""
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        await answer_of(engine, request(tool_choice="none", parallel_tool_calls=False))
        body = (await upstream.chat()).body
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


async def test_calls_that_a_server_must_not_make_are_dropped() -> None:
    """Servers exist that ignore `tool_choice` and `parallel_tool_calls`."""
    parts = (
        ToolCallPart(0, "a", "weather", '{"city": '),
        ToolCallPart(0, arguments='"Ghent"}'),
        ToolCallPart(1, "b", "weather", "{}"),
    )
    deltas = (*(Delta(tool_calls=(part,)) for part in parts), Delta(text="Well."))
    behaviour = Behaviour(deltas=deltas, finish_reason="tool_calls")
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        none = await answer_of(engine, request(tools=(WEATHER,), tool_choice="none"))
        one = await answer_of(engine, request(tools=(WEATHER,), parallel_tool_calls=False))
        body = (await upstream.chat()).body
        every = await answer_of(engine, request(tools=(WEATHER,)))
    assert (none.text, none.tool_calls, none.finish_reason) == ("Well.", (), "stop")
    assert one.tool_calls == (ToolCall("a", "weather", '{"city": "Ghent"}'),)
    assert one.finish_reason == "tool_calls"
    assert body["tool_choice"] == "none"
    assert len(every.tool_calls) == 2


async def test_a_call_that_ends_with_stop_ends_with_tool_calls() -> None:
    """OpenAI ends an answer so if the call was required by its name."""
    behaviour = Behaviour.calls("weather", "{}", finish_reason="stop")
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        answer = await answer_of(engine, request(tools=(WEATHER,), tool_choice="weather"))
    assert answer.finish_reason == "tool_calls"


async def test_logprobs_are_requested_and_returned() -> None:
    behaviour = Behaviour.answer("yes no", logprobs=(-0.5, -1.5))
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        answer = await answer_of(engine, request(sampling=Sampling(logprobs=1)))
    assert [entry.logprob for entry in answer.logprobs] == [-0.5, -1.5]
    assert answer.logprobs[0].top == (("yes", -0.5),)


async def test_a_finished_answer_returns_its_connection_to_the_pool() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        for _ in range(3):
            await answer_of(engine)
        assert [chat.received.count(b"POST /v1/chat") for chat in upstream.chats] == [1, 2, 3]
        assert not any(chat.abandoned for chat in upstream.chats)


async def test_leaving_at_the_last_delta_returns_the_connection_to_the_pool() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        for _ in range(2):
            async with engine.stream(request()) as stream:
                while not (await anext(stream)).finish_reason:
                    pass
        assert [chat.received.count(b"POST /v1/chat") for chat in upstream.chats] == [1, 2]


async def test_leaving_early_closes_the_connection_and_the_next_request_opens_another() -> None:
    forever = Behaviour.answer(["one"] * 5, gates={2: anyio.Event()})
    async with (
        Upstream(forever, Behaviour.answer("next")) as upstream,
        engine_at(upstream.base_url) as engine,
    ):
        async with engine.stream(request()) as stream:
            assert (await anext(stream)).text == "one"
        left = await upstream.chat(0)
        await left.gone.wait()
        assert left.abandoned
        assert stream.receipt is not None
        assert not stream.receipt.exact
        assert stream.receipt.output_tokens >= 1
        assert (await answer_of(engine)).text == "next"
        assert upstream.chats[1].received.count(b"POST /v1/chat") == 1


async def test_leaving_by_cancellation_closes_the_connection_too() -> None:
    forever = Behaviour.answer(["one"] * 5, gates={2: anyio.Event()})
    async with Upstream(forever) as upstream, engine_at(upstream.base_url) as engine:
        with anyio.CancelScope() as scope:
            async with engine.stream(request()) as stream:
                await anext(stream)
                await anext(stream)
                scope.cancel()
                await anext(stream)
        left = await upstream.chat(0)
        await left.gone.wait()
        assert scope.cancelled_caught
        assert left.abandoned
        assert stream.receipt is not None


async def check_cancelled_reader_closes(behaviour: Behaviour, sent_chunks: int) -> None:
    """Cancel a reader once the server has sent `sent_chunks`; its connection must be closed."""
    async with (
        Upstream(behaviour) as upstream,
        engine_at(upstream.base_url) as engine,
        anyio.create_task_group() as tasks,
    ):

        async def read() -> None:
            await deltas_of(engine)

        tasks.start_soon(read)
        left = await upstream.chat(0)
        if sent_chunks:
            await left.reached(sent_chunks)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await left.gone.wait()
    assert left.abandoned


async def test_cancelling_a_waiting_reader_closes_the_connection() -> None:
    await check_cancelled_reader_closes(
        Behaviour.answer("one two", gates={1: anyio.Event()}), sent_chunks=1
    )


async def test_cancelling_before_the_headers_closes_the_connection() -> None:
    await check_cancelled_reader_closes(Behaviour.answer(headers_gate=anyio.Event()), sent_chunks=0)


async def test_two_streams_run_at_once() -> None:
    both = anyio.Event()
    first = Behaviour.answer("a b", gates={1: both})
    second = Behaviour.answer("c d", gates={1: both})
    async with (
        Upstream(first, second) as upstream,
        engine_at(upstream.base_url) as engine,
        engine.stream(request()) as first_stream,
        engine.stream(request()) as second_stream,
    ):
        assert {(await anext(first_stream)).text, (await anext(second_stream)).text} == {"a", "c"}
        assert engine.stats()["open_streams"] == 2
        both.set()
        assert [delta.text async for delta in first_stream] == [" b", ""]
        assert [delta.text async for delta in second_stream] == [" d", ""]


async def test_closing_the_engine_cuts_the_streams_that_run() -> None:
    forever = Behaviour.answer("one two", gates={1: anyio.Event()})
    async with Upstream(forever) as upstream, engine_at(upstream.base_url) as engine:
        async with engine.stream(request()) as stream:
            await anext(stream)
            await engine.aclose()
            await (await upstream.chat(0)).gone.wait()
            with pytest.raises(EngineError, match="closed from this side"):
                await anext(stream)
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
    assert caught.value.kind is ErrorKind.MODEL_NOT_LOADED


async def test_without_usage_the_receipt_is_an_estimate() -> None:
    behaviour = Behaviour.answer(["one"] * 9, usage=False)
    async with (
        Upstream(behaviour) as upstream,
        engine_at(upstream.base_url) as engine,
        engine.stream(request()) as stream,
    ):
        deltas = [delta async for delta in stream]
    assert deltas[-1].usage is None
    assert stream.receipt is not None
    assert not stream.receipt.exact
    assert stream.receipt.output_tokens >= 9
    assert stream.receipt.input_tokens > 0


async def test_usage_is_not_requested_if_the_option_is_off() -> None:
    async with Upstream() as upstream:
        async with engine_at(upstream.base_url, include_usage=False) as engine:
            assert (await answer_of(engine)).usage is None
        async with engine_at(upstream.base_url) as engine:
            assert (await answer_of(engine)).usage is not None
        assert "stream_options" not in upstream.chats[0].body
