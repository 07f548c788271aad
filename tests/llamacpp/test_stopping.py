"""Test stops: within one step, during prefill too, without an effect on other requests."""

from __future__ import annotations

import gc
import threading
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.llamacpp.support import MakeEngine, answer, engine_on, request
from vanta.errors import EngineError, ErrorKind
from vanta_llamacpp.engine import LlamaCppEngine, LlamaCppStream

pytestmark = pytest.mark.anyio
LONG = "word " * 900


def workers() -> list[str]:
    """Return the names of the worker threads that are alive."""
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("vanta-llamacpp")
    ]


async def read_until_cancelled(engine: LlamaCppEngine, text: str, seen: anyio.Event) -> None:
    """Read a long answer; `seen` is set at its first delta."""
    async with engine.stream(request(text, max_tokens=400)) as stream:
        async for _ in stream:
            seen.set()


async def test_leaving_stops_within_one_step(shared_engine: LlamaCppEngine) -> None:
    """The receipt reports the cost, and at most one token after the stop."""
    async with shared_engine.stream(request(max_tokens=400)) as stream:
        for _ in range(3):
            await anext(stream)
    receipt = stream.receipt
    assert receipt is not None
    assert 3 <= receipt.output_tokens < 400
    assert receipt.tokens_after_stop <= 1
    assert receipt.cpu_after_stop_s < 5
    assert receipt.cpu_s > 0
    assert receipt.cpu_after_stop_s <= receipt.cpu_s
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stop_in_the_middle_of_a_prompt_ends_it(make_engine: MakeEngine) -> None:
    """The prompt is not prefilled to its end, though it is a single step."""
    engine = make_engine(prefill_chunk=1024, threads=1)
    await engine.load()
    async with engine.stream(request(LONG)) as stream:
        assert isinstance(stream, LlamaCppStream)
        while not stream.started:
            await anyio.lowlevel.checkpoint()
    assert stream.receipt is not None
    assert stream.receipt.input_tokens < 900
    assert stream.receipt.output_tokens == 0
    alone = await answer(make_engine(), request())
    assert (await answer(engine, request())).text == alone.text


async def test_after_a_storm_of_cancellations_answers_are_the_same(tiny: MakeEngine) -> None:
    """Each greedy answer equals the answer alone, of a model whose answers are chaos."""
    engine = tiny(prefill_chunk=64)
    topics = ("What is rain?", "Name three colours.")
    reference = tiny()
    alone = {topic: (await answer(reference, request(topic))).text for topic in topics}
    for number in range(6):
        async with anyio.create_task_group() as tasks:
            seen = anyio.Event()
            text = LONG[: 5 * (20 + number * 60)] if number % 2 else topics[number % 4 // 2]
            tasks.start_soon(read_until_cancelled, engine, text, seen)
            if number % 4 < 2:
                await seen.wait()
            else:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        topic = topics[number % 2]
        assert (await answer(engine, request(topic))).text == alone[topic]


async def test_waiting_requests_are_served_in_order_and_can_stop(
    make_engine: MakeEngine,
) -> None:
    """A request that stops while it is waiting costs nothing."""
    engine = make_engine(parallel=1)
    order: list[str] = []

    async def read(name: str) -> None:
        await answer(engine, request(f"Say {name}.", max_tokens=4))
        order.append(name)

    async with anyio.create_task_group() as tasks, engine.stream(request(max_tokens=400)) as first:
        await anext(first)
        async with engine.stream(request("Never mind.")) as waiting:
            assert isinstance(waiting, LlamaCppStream)
            assert not waiting.started
        assert waiting.receipt is not None
        assert (waiting.receipt.input_tokens, waiting.receipt.cpu_after_stop_s) == (0, 0.0)
        for name in ("a", "b", "c"):
            tasks.start_soon(read, name)
            while engine.stats()["queue"] < "abc".index(name) + 1:
                await anyio.lowlevel.checkpoint()
    assert order == ["a", "b", "c"]


async def test_a_full_queue_is_overloaded(make_engine: MakeEngine) -> None:
    """The error names its length. There is room again once a request stops."""
    engine = make_engine(queue=1, parallel=1)
    async with engine.stream(request(max_tokens=400)) as first:
        await anext(first)
        async with engine.stream(request()):
            with pytest.raises(EngineError, match="1 requests are waiting") as raised:
                await answer(engine, request())
            assert raised.value.kind is ErrorKind.OVERLOADED
        async with engine.stream(request()):
            assert engine.stats()["queue"] == 1


async def test_closing_ends_running_and_waiting_streams(make_engine: MakeEngine) -> None:
    """Each with an error; the thread has ended afterwards."""
    engine = make_engine(parallel=1)
    before = len(workers())
    errors: list[EngineError] = []

    async def read(seen: anyio.Event) -> None:
        try:
            await read_until_cancelled(engine, "Tell me a story.", seen)
        except EngineError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        seen = anyio.Event()
        tasks.start_soon(read, seen)
        await seen.wait()
        assert len(workers()) == before + 1
        tasks.start_soon(read, anyio.Event())
        while engine.stats()["queue"] < 1:
            await anyio.lowlevel.checkpoint()
        await engine.aclose()
    assert [error.kind for error in errors] == [ErrorKind.MODEL_NOT_LOADED] * 2
    assert "closed" in str(errors[0])
    assert len(workers()) == before


async def test_closing_during_a_load_ends_it(make_engine: MakeEngine) -> None:
    """The waiting caller receives an error."""
    engine = make_engine()
    failed: list[ErrorKind] = []

    async def load() -> None:
        try:
            await engine.load()
        except EngineError as error:
            failed.append(error.kind)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load)
        await anyio.lowlevel.checkpoint()
        await engine.aclose()
    assert failed in ([], [ErrorKind.MODEL_NOT_LOADED])
    with pytest.raises(EngineError, match="closed"):
        await engine.load()


async def test_a_collected_engine_ends_its_thread(smollm2_path: Path) -> None:
    """Even if it was never closed."""
    before = len(workers())
    engine = engine_on(smollm2_path)
    await answer(engine, request(max_tokens=2))
    assert len(workers()) == before + 1
    del engine
    await anyio.to_thread.run_sync(gc.collect)
    assert len(workers()) == before


async def test_two_engines_in_one_process_answer_as_if_alone(tiny: MakeEngine) -> None:
    engines = tiny(), tiny()
    alone = (await answer(engines[0], request())).text
    texts: list[str] = []

    async def read(engine: LlamaCppEngine) -> None:
        texts.append((await answer(engine, request())).text)

    async with anyio.create_task_group() as tasks:
        for engine in engines:
            tasks.start_soon(partial(read, engine))
    assert texts == [alone, alone]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads where Linux does")
async def test_an_idle_engine_keeps_no_thread_but_its_worker(make_engine: MakeEngine) -> None:
    """Even waiting OpenMP helpers would slow down every other engine of the process."""
    engine = make_engine(threads=3)
    await engine.load()
    idle = _native_threads()
    async with engine.stream(request(max_tokens=8)) as stream:
        await anext(stream)
        assert _native_threads() == idle + 2
        async for _ in stream:
            pass
    with anyio.fail_after(10):
        while _native_threads() > idle:
            await anyio.lowlevel.checkpoint()
    assert (await answer(engine, request(max_tokens=8))).text


def _native_threads() -> int:
    """Return the number of threads that are not Python's own."""
    return len(list(Path("/proc/self/task").iterdir())) - threading.active_count()
