"""What a server sends beside streams is read up to a bound: refusals, lists of models, vectors."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from benchmarks.faults.streams import StreamPlan, frame_server
from tests.openai.support import RawServer, answer_of, engine_at, frames, request, text_frame
from vanta import EmbedderError, EngineError, ErrorKind, ModelFile, Sampling
from vanta.memory import EmbedderContext
from vanta.testing import LoadMeter
from vanta_openai.embedder import OpenAIEmbedder
from vanta_openai.http_client import MAX_REFUSAL_BYTES
from vanta_openai.server import OpenAIEmbedderOptions

pytestmark = pytest.mark.anyio

ENDLESS = -1
MOST_BYTES = 100_000_000
BUSY_S = 0.15


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with frame_server() as base_url:
        yield base_url


def at(server: str, plan: StreamPlan) -> str:
    return f"{server}?plan={quote(plan.to_json())}"


@asynccontextmanager
async def bounded(seconds: float) -> AsyncIterator[None]:
    """Fail if the block lasts longer, takes much memory, or holds the event loop."""
    began = time.monotonic()
    async with LoadMeter() as load:
        yield
    assert time.monotonic() - began < seconds
    assert load.grown_bytes < MOST_BYTES
    assert load.longest_busy_s < BUSY_S


BODIES = {
    "junk": StreamPlan((("no_newline", 60_000, ENDLESS),)),
    "zeros, compressed": StreamPlan((("newlines", 60_000, ENDLESS),), coding="gzip"),
    "zeros, deflated": StreamPlan((("newlines", 60_000, ENDLESS),), coding="deflate"),
    "compressed twice": StreamPlan((("newlines", 60_000, ENDLESS),), coding="gzip, gzip"),
    "JSON": StreamPlan((("json", 0, 1), ("no_newline", 60_000, ENDLESS))),
    "nesting": StreamPlan((("nested", 100_000, 1),)),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_list_of_models_without_an_end_is_refused(server: str, name: str) -> None:
    async with engine_at(at(server, BODIES[name])) as engine, bounded(4.0):
        with pytest.raises(EngineError) as caught:
            await engine.models()
        assert not (await engine.health(force=True)).ok
    assert caught.value.kind is ErrorKind.SERVER


async def test_a_list_of_models_that_comes_too_slowly_ends_in_time(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vanta_openai.transport.LIST_TIMEOUT_S", 0.3)
    drip = [("no_newline", 1, 1), ("stall", 50, 1)] * 400
    async with engine_at(at(server, StreamPlan(tuple(drip)))) as engine, bounded(4.0):
        with pytest.raises(EngineError, match="list of models") as caught:
            await engine.models()
    assert caught.value.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("name", BODIES)
async def test_vectors_without_an_end_are_refused(server: str, name: str, tmp_path: Path) -> None:
    options = OpenAIEmbedderOptions(base_url=at(server, BODIES[name]), batch=8)
    context = EmbedderContext("m", tmp_path, lambda ref: ModelFile(ref, tmp_path))
    embedder = OpenAIEmbedder(options, context)
    try:
        async with bounded(6.0):
            with pytest.raises(EmbedderError):
                await embedder.load()
    finally:
        await embedder.aclose()


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("name", BODIES)
async def test_a_refusal_without_an_end_is_known_by_its_status(
    server: str, name: str, status: int
) -> None:
    kinds = {400: ErrorKind.BAD_REQUEST, 429: ErrorKind.RATE_LIMITED, 500: ErrorKind.SERVER}
    plan = BODIES[name]
    refusal = StreamPlan(plan.frames, status, plan.coding)
    async with engine_at(at(server, refusal)) as engine, bounded(5.0):
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
    assert caught.value.kind in {kinds[status], ErrorKind.SERVER}
    assert len(caught.value.message) < 1000


async def test_a_refusal_whose_body_stalls_is_reported_soon(server: str) -> None:
    plan = StreamPlan((("no_newline", 5, 1), ("stall", 20_000, 1)), status=429)
    async with engine_at(at(server, plan)) as engine, bounded(6.0):
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
    assert caught.value.kind is ErrorKind.RATE_LIMITED


async def test_a_long_refusal_is_cut_and_a_short_one_is_read_whole() -> None:
    long = json.dumps({"error": {"message": "x" * MAX_REFUSAL_BYTES}})
    short = json.dumps({"error": {"message": "slow down, please"}})
    for body, part in ((long, "x" * 100), (short, "slow down, please")):
        async with RawServer(body, status=429) as raw, engine_at(raw.base_url) as engine:
            with pytest.raises(EngineError, match=part) as caught:
                await answer_of(engine)
        assert caught.value.kind is ErrorKind.RATE_LIMITED


@pytest.mark.parametrize("words", ["model ", "longer than the ", "exceeded your ", "1"])
async def test_no_message_of_an_error_is_slow_to_search(words: str) -> None:
    message = words * (400_000 // len(words))
    error = json.dumps({"error": {"message": message, "code": words, "type": message[:9000]}})
    async with RawServer(frames(error)) as raw, engine_at(raw.base_url) as engine, bounded(3.0):
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
    assert len(caught.value.message) < 1000


async def test_a_compressed_stream_is_an_answer() -> None:
    stream = frames(text_frame("one"), text_frame(" two")).encode()
    packed = gzip.compress(stream)
    async with RawServer(packed, coding="gzip") as raw, engine_at(raw.base_url) as engine:
        assert (await answer_of(engine)).text == "one two"


async def test_a_large_event_is_an_answer_and_one_beyond_the_bound_is_not() -> None:
    for size, fits in ((400_000, True), (700_000, False)):
        body = frames(text_frame("x" * size))
        async with RawServer(body) as raw, engine_at(raw.base_url) as engine:
            if fits:
                assert len((await answer_of(engine)).text) == size
            else:
                with pytest.raises(EngineError, match="larger than"):
                    await answer_of(engine)


async def test_events_are_told_apart_however_they_are_split_into_pieces() -> None:
    body = "".join(f"data: {text_frame('x' * 90)}\n\n" for _ in range(10_000)) + "data: [DONE]\n\n"
    for line_end in ("\n", "\r\n", "\r"):
        async with (
            RawServer(body.replace("\n", line_end)) as raw,
            engine_at(raw.base_url) as engine,
        ):
            answer = await answer_of(engine, request(sampling=Sampling(max_tokens=10**6)))
        assert len(answer.text) == 900_000


async def test_what_follows_the_end_of_an_answer_does_not_hold_up_its_stream(server: str) -> None:
    plan = StreamPlan((("text", 5, 1), ("done", 0, 1), ("comment", 5, ENDLESS)))
    async with engine_at(at(server, plan)) as engine, bounded(3.0):
        assert (await answer_of(engine)).text == "xxxxx"
