"""The scripted engine follows its script and counts exactly."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta import plugin_loading as plugins
from vanta.engine import Capabilities, EngineContext, GenerationRequest, Sampling, Tool
from vanta.errors import EngineError, ErrorKind, UnknownName
from vanta.messages import Completion, Fold, Message, Usage
from vanta.testing import (
    CallTool,
    Fail,
    Finish,
    Hang,
    Pause,
    Say,
    ScriptedEngine,
    Think,
    Wait,
    scripted_plugin,
)
from vanta.testing.steps import count_tokens, split_tokens

HI = (Message("user", "hi"),)


async def complete(
    engine: ScriptedEngine, *, prefix: str = "", sampling: Sampling | None = None
) -> Completion:
    fold = Fold()
    request = GenerationRequest(HI, sampling or Sampling(), prefix=prefix)
    async with engine.stream(request) as stream:
        async for delta in stream:
            fold.add(delta)
    return fold.completion()


@given(st.text())
def test_the_tokens_of_a_text_join_to_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text
    assert all(len(token.strip()) <= 8 for token in split_tokens(text))


@pytest.mark.anyio
async def test_a_plain_string_is_sent_token_by_token() -> None:
    async with ScriptedEngine("one two three").stream(GenerationRequest(HI)) as stream:
        deltas = [delta async for delta in stream]
    assert [delta.text for delta in deltas] == ["one", " two", " three", ""]
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage == Usage(input_tokens=4, output_tokens=3)
    assert stream.receipt is not None
    assert stream.receipt.output_tokens == 3


@pytest.mark.anyio
async def test_every_step_becomes_its_deltas() -> None:
    gate = anyio.Event()
    gate.set()
    steps = (Think("hm"), Wait(gate), Pause(0), Say("Hi"), CallTool("add", "{}"), Finish("length"))
    answer = await complete(ScriptedEngine(*steps))
    assert (answer.reasoning, answer.text, answer.finish_reason) == ("hm", "Hi", "length")
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("add", "{}")]


@pytest.mark.anyio
async def test_a_script_that_calls_a_tool_ends_with_that_reason() -> None:
    assert (await complete(ScriptedEngine(CallTool("add")))).finish_reason == "tool_calls"


@pytest.mark.anyio
async def test_a_wait_holds_what_follows_until_its_gate_opens() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine("one", Wait(gate), " two")
    async with engine.stream(GenerationRequest(HI)) as stream:
        assert (await anext(stream)).text == "one"
        async with anyio.create_task_group() as tasks:
            texts: list[str] = []

            async def read() -> None:
                texts.append((await anext(stream)).text)

            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            assert texts == []
            gate.set()
        assert texts == [" two"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "error", [ErrorKind.SERVER, EngineError(ErrorKind.SERVER, "down", engine="other")]
)
async def test_a_script_can_fail_after_some_text(error: ErrorKind | EngineError) -> None:
    engine = ScriptedEngine("one", Fail(error))
    async with engine.stream(GenerationRequest(HI)) as stream:
        assert (await anext(stream)).text == "one"
        with pytest.raises(EngineError) as raised:
            await anext(stream)
    assert raised.value.kind is ErrorKind.SERVER
    assert engine.runs[0].cancelled


@pytest.mark.anyio
async def test_leaving_early_stops_the_run_and_writes_the_receipt() -> None:
    gate = anyio.Event()
    gate.set()
    engine = ScriptedEngine("one two", Hang(), winds_down=gate, tokens_after_stop=2)
    async with engine.stream(GenerationRequest(HI)) as stream:
        await anext(stream)
        assert engine.streaming == 1
    run = await engine.run(0)
    assert run.cancelled
    assert run.stopped.is_set()
    assert stream.receipt is not None
    assert (stream.receipt.output_tokens, stream.receipt.tokens_after_stop) == (3, 2)
    assert engine.stats() == {"opened": 1, "closed": 1, "tokens": 3, "tokens_after_stop": 2}


@pytest.mark.anyio
async def test_an_engine_winds_down_before_its_stream_is_left() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine(Hang(), winds_down=gate)

    async def talk() -> None:
        await complete(engine)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk)
        run = await engine.run(0)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert not run.stopped.is_set()
            gate.set()
            await run.stopped.wait()


@pytest.mark.anyio
async def test_scripts_are_used_in_order_and_the_last_one_repeats() -> None:
    engine = ScriptedEngine(scripts=[["one"], ["two"]])
    assert [(await complete(engine)).text for _ in range(3)] == ["one", "two", "two"]
    assert len(engine.requests) == 3


@pytest.mark.anyio
async def test_a_reply_is_made_from_the_request() -> None:
    engine = ScriptedEngine(reply=lambda request: [request.messages[-1].content])
    assert (await complete(engine)).text == "hi"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prefix", "text"), [("one t", "wo three"), ("one two", " three"), ("other", "one two three")]
)
async def test_a_prefix_that_the_script_begins_with_is_not_repeated(prefix: str, text: str) -> None:
    assert (await complete(ScriptedEngine("one two three"), prefix=prefix)).text == text


@pytest.mark.anyio
async def test_the_token_limit_cuts_inside_a_delta() -> None:
    answer = await complete(ScriptedEngine(Say("one two three")), sampling=Sampling(max_tokens=2))
    assert (answer.text, answer.finish_reason) == ("one two", "length")


@given(st.lists(st.text("ab", max_size=3)), st.lists(st.text("ab", min_size=1, max_size=3)))
def test_no_part_of_a_stop_string_is_sent(parts: list[str], stops: list[str]) -> None:
    engine = ScriptedEngine(*(Say(part) for part in parts))
    answer = anyio.run(lambda: complete(engine, sampling=Sampling(stop=tuple(stops))))
    whole = "".join(parts)
    met = [(at + len(stop), at) for stop in stops if (at := whole.find(stop)) >= 0]
    assert answer.text == whole[: min(met)[1] if met else None]
    assert answer.finish_reason == "stop"


@pytest.mark.anyio
async def test_logprobs_are_sent_for_every_token_on_request() -> None:
    engine = ScriptedEngine(Say("one two", logprob=-2.0), " three")
    answer = await complete(engine, sampling=Sampling(logprobs=0))
    assert [(t.token, t.logprob) for t in answer.logprobs] == [
        ("one", -2.0),
        (" two", -2.0),
        (" three", -0.1),
    ]
    assert (await complete(engine)).logprobs == ()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(HI, prefix="so"),
        GenerationRequest(HI, tools=(Tool("t", "", {}),)),
        GenerationRequest(HI, Sampling(grammar="root ::= x")),
        GenerationRequest(HI, Sampling(json_schema={})),
        GenerationRequest(HI, Sampling(logprobs=0)),
    ],
)
async def test_unsupported_requests_are_refused(request_: GenerationRequest) -> None:
    with pytest.raises(EngineError) as raised:
        async with ScriptedEngine("x", capabilities=Capabilities()).stream(request_):
            pass
    assert raised.value.kind is ErrorKind.UNSUPPORTED


@pytest.mark.anyio
async def test_a_prompt_longer_than_the_window_overflows() -> None:
    engine = ScriptedEngine("x", window=3)
    with pytest.raises(EngineError, match="Cut 1 tokens"):
        await complete(engine)
    engine.window = 4
    await complete(engine)


@pytest.mark.anyio
async def test_closing_the_engine_ends_a_stream_that_hangs() -> None:
    engine = ScriptedEngine(Hang())

    async def talk() -> None:
        with pytest.raises(EngineError, match="closed"):
            await complete(engine)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk)
        await engine.run(0)
        await anyio.wait_all_tasks_blocked()
        await engine.aclose()


@pytest.mark.anyio
async def test_the_plugin_creates_for_each_track_the_engine_of_its_name() -> None:
    local = ScriptedEngine("x")
    loaded = plugins.load(extra=[scripted_plugin(local=local)], entry_points=())
    factory = loaded.engines["scripted"]
    options = factory.options.model_validate({"anything": 1})

    def context(track: str) -> EngineContext:
        return EngineContext(track, "m", None, find_model=lambda _: pytest.fail("not needed"))

    assert factory.create(options, context("local")) is local
    with pytest.raises(UnknownName, match="api"):
        factory.create(options, context("api"))


def test_counting_an_empty_text_gives_nothing() -> None:
    assert count_tokens("") == 0
