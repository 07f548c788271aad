"""Base classes of engines: what a small engine gets, and that a wrapper forwards everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from vanta import (
    BaseEngine,
    Capabilities,
    Delta,
    Engine,
    EngineError,
    EngineModel,
    ErrorKind,
    GenerationRequest,
    Health,
    Message,
    Sampling,
    TokenCount,
    Usage,
    WrapperEngine,
)
from vanta.engine_base import StopFilter
from vanta.messages import Completion, Fold
from vanta.testing import EngineConformance, ScriptedEngine, ask

HELLO = GenerationRequest((Message("user", "hello big wonderful world"),))


class ShoutEngine(BaseEngine):
    """The engine of the module's docstring."""

    name = "shout"
    keeps_state = False

    def __init__(self, model: str = "capitals") -> None:
        self.model = model

    async def deltas(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        words = request.messages[-1].content.upper().split() if request.messages else []
        limit = request.sampling.max_tokens
        for word in words[:limit]:
            yield Delta(text=f"{word} ")
        cut = limit is not None and limit < len(words)
        yield Delta(finish_reason="length" if cut else "stop")


class TestShout(EngineConformance):
    """The smallest engine follows the whole contract."""

    long_request = ask(" ".join(f"word{number}" for number in range(60)), 120)
    expects_exact_counts = False

    @pytest.fixture
    def engine(self) -> Engine:
        return ShoutEngine()


async def answer(engine: Engine, request: GenerationRequest = HELLO) -> Completion:
    fold = Fold()
    async with engine.stream(request) as stream:
        async for delta in stream:
            fold.add(delta)
    return fold.completion()


class Yields(BaseEngine):
    """Yields what a test passes; an event or an error among the deltas is awaited or raised."""

    name = "yields"
    model = "m"
    keeps_state = False

    def __init__(self, *steps: Any, health: Callable[[], Health] | None = None) -> None:
        self.steps = steps
        self.closings = 0
        self.checks = 0
        self.result = health

    async def deltas(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        try:
            for step in self.steps:
                if isinstance(step, anyio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closings += 1

    async def check(self) -> Health:
        self.checks += 1
        return self.result() if self.result else await super().check()


@pytest.mark.anyio
async def test_a_reported_usage_is_the_receipt_and_a_missing_one_is_estimated() -> None:
    usage = Usage(5, 7)
    for step, expected, exact in (
        (Delta(finish_reason="stop", usage=usage), (5, 7), True),
        (Delta(finish_reason="stop"), None, False),
    ):
        engine = Yields(Delta(text="a"), step)
        async with engine.stream(HELLO) as stream:
            deltas = [delta async for delta in stream]
        receipt, reported = stream.receipt, deltas[-1].usage
        assert receipt is not None
        assert reported is not None
        assert receipt.exact is reported.exact is exact
        assert (receipt.input_tokens, receipt.output_tokens) == (
            reported.input_tokens,
            reported.output_tokens,
        )
        assert expected in {None, (receipt.input_tokens, receipt.output_tokens)}


@pytest.mark.anyio
async def test_a_stream_without_a_finish_reason_gets_one() -> None:
    completion = await answer(Yields(Delta(text="a"), Delta(text="b")))
    assert completion.text == "ab"
    assert completion.finish_reason == "stop"


@pytest.mark.anyio
async def test_leaving_a_stream_closes_the_generator_and_writes_a_receipt() -> None:
    engine = Yields(Delta(text="a"), anyio.Event())
    async with engine.stream(HELLO) as stream:
        await anext(stream)
    assert engine.closings == 1
    assert stream.receipt is not None
    assert stream.receipt.output_tokens == 1


@pytest.mark.anyio
async def test_cancelling_a_reader_closes_the_generator() -> None:
    engine = Yields(Delta(text="a"), anyio.Event())
    started = anyio.Event()

    async def read() -> None:
        async with engine.stream(HELLO) as stream:
            async for _ in stream:
                started.set()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await started.wait()
        group.cancel_scope.cancel()
    assert engine.closings == 1


@pytest.mark.anyio
async def test_an_error_passes_and_nothing_follows_it() -> None:
    error = EngineError(ErrorKind.NETWORK, "the line broke", engine="yields")
    async with Yields(Delta(text="a"), error).stream(HELLO) as stream:
        assert (await anext(stream)).text == "a"
        with pytest.raises(EngineError, match="the line broke"):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@pytest.mark.anyio
async def test_closing_ends_a_waiting_reader_with_an_error() -> None:
    engine = Yields(Delta(text="a"), anyio.Event())
    failures: list[EngineError] = []

    async def read() -> None:
        with pytest.raises(EngineError) as raised:
            await answer(engine)
        failures.append(raised.value)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await engine.aclose()
    assert [failure.kind for failure in failures] == [ErrorKind.MODEL_NOT_LOADED]
    assert engine.closings == 1
    assert engine.closed


@pytest.mark.anyio
async def test_what_capabilities_lack_is_refused_before_anything_is_generated() -> None:
    engine = Yields(Delta(text="a"))
    for sampling, name in ((Sampling(grammar="x"), "grammar"), (Sampling(logprobs=0), "logprobs")):
        with pytest.raises(EngineError, match=f"needs '{name}'") as raised:
            await answer(engine, GenerationRequest(HELLO.messages, sampling))
        assert raised.value.kind is ErrorKind.UNSUPPORTED
        assert raised.value.suggestion
    assert engine.closings == 0


@pytest.mark.anyio
async def test_a_stop_string_is_cut_however_the_deltas_split_it() -> None:
    engine = Yields(Delta(text="one t"), Delta(text="w"), Delta(text="o three"), Delta(text="x"))
    completion = await answer(engine, GenerationRequest(HELLO.messages, Sampling(stop=("two",))))
    assert completion.text == "one "
    assert completion.finish_reason == "stop"
    whole = await answer(engine, GenerationRequest(HELLO.messages, Sampling(stop=("threexy",))))
    assert whole.text == "one two threex"


@pytest.mark.anyio
async def test_health_is_checked_once_in_30_seconds_unless_forced() -> None:
    engine = Yields()
    assert (await engine.health()).ok
    assert (await engine.health()).ok
    assert engine.checks == 1
    await engine.health(force=True)
    assert engine.checks == 2


@pytest.mark.anyio
async def test_an_error_of_the_check_is_the_health() -> None:
    def fail() -> Health:
        raise EngineError(ErrorKind.AUTH, "the key is wrong", engine="yields")

    health = await Yields(health=fail).health()
    assert not health.ok
    assert "the key is wrong" in health.detail


@pytest.mark.anyio
async def test_counts_are_estimates_and_the_one_model_is_listed() -> None:
    engine = ShoutEngine()
    count = await engine.count_tokens(HELLO.messages)
    assert count.value >= 4
    assert not count.exact
    assert [model.id for model in await engine.models()] == ["capitals"]


@pytest.mark.anyio
async def test_an_engine_without_deltas_says_what_to_implement() -> None:
    class Empty(BaseEngine):
        name = model = "empty"

    with pytest.raises(NotImplementedError, match="Empty must implement 'deltas' or 'stream'"):
        await answer(Empty())


@pytest.mark.anyio
async def test_forget_succeeds_only_for_an_engine_that_keeps_nothing_or_implements_it() -> None:
    class Unknown(Yields):
        keeps_state = True

    await Yields().forget()
    with pytest.raises(EngineError, match="may keep text of earlier requests") as raised:
        await Unknown().forget()
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert raised.value.suggestion


PUBLIC = sorted(
    {name for name in (*vars(Engine), *Engine.__annotations__) if not name.startswith("_")}
)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_wrapper_defines_every_public_name_of_an_engine(name: str) -> None:
    assert name in vars(WrapperEngine)


class Everything(ScriptedEngine):
    """An engine whose every answer differs from the defaults of `Engine`."""

    keeps_state = True

    def __init__(self) -> None:
        super().__init__("hi", name="inner", model="inner-1", window=4096)
        self.forgotten = 0
        self.connected = 0

    async def connect(self) -> None:
        self.connected += 1

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        return TokenCount(41, exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        return [TokenCount(42, exact=True) for _ in texts]

    async def answers(self, request: GenerationRequest, count: int) -> list[Completion]:
        return [Completion(text="one of many")] * count

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    async def models(self) -> Sequence[EngineModel]:
        return (EngineModel("inner-2"),)

    async def forget(self) -> None:
        self.forgotten += 1


@pytest.mark.anyio
async def test_a_wrapper_forwards_every_call_and_property() -> None:
    inner = Everything()
    wrapper = WrapperEngine(inner)
    assert (wrapper.name, wrapper.model, wrapper.window) == ("inner", "inner-1", 4096)
    assert wrapper.capabilities is inner.capabilities
    assert wrapper.keeps_state
    assert wrapper.counter == inner.counter
    assert (await wrapper.count_tokens(())).value == 41
    assert [count.value for count in await wrapper.count_texts(["a"])] == [42]
    assert [completion.text for completion in await wrapper.answers(HELLO, 2)] == [
        "one of many"
    ] * 2
    assert await wrapper.embed(["a"]) == [[1.0]]
    assert [model.id for model in await wrapper.models()] == ["inner-2"]
    assert (await answer(wrapper)).text == "hi"
    await wrapper.load()
    await wrapper.connect()
    assert (await wrapper.health(force=True)).ok
    await wrapper.forget()
    assert (inner.loads, inner.health_checks, inner.forgotten, inner.connected) == (1, 1, 1, 1)
    assert wrapper.stats() == inner.stats()
    await wrapper.aclose()
    with pytest.raises(EngineError, match="the engine is closed"):
        await answer(inner)


def test_a_stop_filter_returns_the_text_before_the_stop_that_is_complete_first() -> None:
    stops = StopFilter(("END", "EN"))
    assert stops.feed("a E") == "a "
    assert stops.feed("ND b") == ""
    assert stops.hit
    held = StopFilter(("END",))
    assert held.feed("tEN") == "t"
    assert held.flush() == "EN"
    assert Capabilities() == ShoutEngine.capabilities
