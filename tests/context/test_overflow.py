"""Overflow: what servers report about a prompt that is too long, and the shorter prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.context.prompts import PlainPrompts
from vanta.context.budget import OverflowReport, read_overflow
from vanta.context.preparer import ContextPreparer
from vanta.engine import EngineContext, ModelFile, Sampling, TokenCount
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.memory import MemoryItem, RecalledItem
from vanta.messages import Delta, Exchange, Message, Usage
from vanta.scheduling import LegPlan, Policy, Race, RaceOutcome, RacePlan, RaceSettings
from vanta.testing import ScriptedEngine, Upstream, count_tokens
from vanta.track import Track
from vanta_openai.engine import OpenAIEngine
from vanta_openai.server import OpenAIOptions

WORDS = {
    "This model's maximum context length is 8192 tokens. However, your messages resulted in "
    "10213 tokens. Please reduce the length of the messages.": OverflowReport(8192, 10213),
    "This model's maximum context length is 4097 tokens. However, you requested 4503 tokens (503 "
    "in the messages, 4000 in the completion).": OverflowReport(4097, 503, 4000),
    "This model's maximum context length is 4096 tokens. However, your request has 5000 input "
    "tokens.": OverflowReport(4096, 5000),
    "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum context "
    "length is 4096 tokens and your request has 500 input tokens (4000 > 4096 - "
    "500).": OverflowReport(4096, 500, 4000),
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing "
    "it": OverflowReport(4096, 5000),
    "the request exceeds the available context size, try increasing it": OverflowReport(),
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 "
    "`max_new_tokens`": OverflowReport(4096, 5000, 100),
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded "
    "with context length of only 4096 tokens": OverflowReport(4096, 5000),
    "prompt is too long: 210,000 tokens > 200,000 maximum": OverflowReport(200_000, 210_000),
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 150000 "
    "tokens (148000 of text input, 2000 in the output).": OverflowReport(131_072, 148_000, 2000),
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
    "context length": OverflowReport(32_768, 40_000),
    "the prompt has 5000 tokens, the window 4096": OverflowReport(4096, 5000),
    "the prompt has 5000 tokens, 905 more than the window of 4096 holds with one token of an "
    "answer": OverflowReport(4096, 5000),
    "too long": OverflowReport(),
    f"maximum context length is {10**12} tokens, your request has {10**12} input tokens": (
        OverflowReport()
    ),
    f"maximum context length is {'9' * 5000} tokens": OverflowReport(),
}


@pytest.mark.parametrize(("message", "report"), WORDS.items())
def test_the_numbers_that_a_server_reports_are_read(message: str, report: OverflowReport) -> None:
    assert read_overflow(message) == report


class Blind(ScriptedEngine):
    """Counts far too low; the server behind it counts right, and has a smaller window than the
    track believes."""

    def __init__(self, words: str, **options: Any) -> None:
        super().__init__("fine", window=600, **options)
        self._words = words
        self.refusals: list[str] = []

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        counted = await super().count_tokens(messages)
        return TokenCount(counted.value // 2, exact=False)

    def error(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        self.refusals.append(self._words.format(message))
        return super().error(kind, self.refusals[-1], suggestion)


def exchanges(count: int) -> list[Exchange]:
    text = "word " * 10
    messages = Message("user", text), Message("assistant", text)
    return [Exchange(messages, turn=f"turn-{n}") for n in range(count)]


async def recall() -> Sequence[RecalledItem]:
    items = [
        MemoryItem(n, "ada", "old", f"old-{n}", "message", "user", "word " * 12, n * 1e5)
        for n in range(30)
    ]
    return [RecalledItem(item, 1.0) for item in items]


def preparer(history: int, *, memory: bool = True, message: str = "now") -> ContextPreparer:
    return ContextPreparer(
        system="be brief",
        history=exchanges(history),
        message=Message("user", message),
        sampling=Sampling(),
        user="ada",
        session="now",
        prompts=PlainPrompts(lambda notes, summary: f"<{summary}{notes}>"),
        recall=recall if memory else None,
    )


async def race(track: Track, prepared: ContextPreparer) -> RaceOutcome:
    plan = RacePlan(
        settings=RaceSettings(
            policy=Policy("one", "one track", (LegPlan(track.name),)),
            deadline_s=30.0,
            stall_timeout_s=30.0,
        ),
        tracks={track.name: track},
        preparer=prepared,
        started_at=anyio.current_time(),
    )
    return await Race(plan, lambda _event: None).run()


@pytest.mark.anyio
@pytest.mark.parametrize("words", ["{}", "it is too long", "context length of 600"])
async def test_a_refused_prompt_is_shortened_and_sent_again(words: str) -> None:
    engine = Blind(words)
    track = Track("api", engine, window=3000, reply_reserve=50)
    prepared = preparer(30)
    outcome = await race(track, prepared)
    assert (outcome.text, len(engine.refusals)) == ("fine", 1)
    assert len(outcome.legs) == 1
    assert len(engine.requests) == 1  # the refused request never started
    trace = prepared.traces["api"]
    assert read_overflow(trace.refused or "") == read_overflow(engine.refusals[0])
    assert trace.memories
    assert prepared.shown_ids["api"] >= {memory.id for memory in trace.memories}
    assert engine.requests[0].messages[-1].content.endswith("now")


@pytest.mark.anyio
async def test_the_window_that_a_server_reported_holds_from_then_on() -> None:
    engine = Blind("{}")
    track = Track("api", engine, window=3000, reply_reserve=50)
    await race(track, preparer(30))
    later = preparer(30, memory=False)
    await later.prepare(track, shown="", judged=False)
    assert later.traces["api"].window == 600


@pytest.mark.anyio
async def test_a_prompt_that_cannot_be_shortened_fails_with_the_kind_of_the_refusal() -> None:
    engine = Blind("{}")
    track = Track("api", engine, window=3000, reply_reserve=50)
    outcome = await race(track, preparer(0, memory=False, message="word " * 1200))
    assert isinstance(outcome.failure, AllTracksFailed)
    (error,) = outcome.failure.exceptions
    assert isinstance(error, EngineError)
    assert error.kind is ErrorKind.CONTEXT_OVERFLOW
    assert engine.requests == []


class Stubborn(ScriptedEngine):
    """Refuses every request."""

    attempts = 0

    def require(self, request: Any) -> None:
        self.attempts += 1
        raise self.error(ErrorKind.CONTEXT_OVERFLOW, "too long")


@pytest.mark.anyio
async def test_a_prompt_is_sent_at_most_twice() -> None:
    engine = Stubborn()
    outcome = await race(Track("api", engine, window=3000), preparer(30))
    assert outcome.failure
    assert engine.attempts == 2


@asynccontextmanager
async def server_of(window: int) -> AsyncIterator[tuple[Upstream, OpenAIEngine]]:
    """A server with a tokenizer of its own that refuses prompts of more than `window` tokens, in
    OpenAI's words, and the engine that talks to it."""

    @asynccontextmanager
    async def generate(body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Delta]]:
        texts = [message["content"] for message in body["messages"]]
        tokens = sum(3 * count_tokens(text) + 3 for text in texts)  # expensive: three per word
        if tokens > window:
            raise EngineError(
                ErrorKind.CONTEXT_OVERFLOW,
                f"This model's maximum context length is {window} tokens. However, your messages "
                f"resulted in {tokens} tokens.",
                engine="server",
                model="",
            )
        yield _say("fine", Usage(tokens, 1))

    async with Upstream(generate=generate) as upstream:
        context = EngineContext("api", "m", None, lambda name: ModelFile(name, Path(name)))
        engine = OpenAIEngine(OpenAIOptions(base_url=upstream.base_url), context)
        try:
            yield upstream, engine
        finally:
            await engine.aclose()


async def _say(text: str, usage: Usage) -> AsyncIterator[Delta]:
    yield Delta(text=text)
    yield Delta(finish_reason="stop", usage=usage)


@pytest.mark.anyio
async def test_a_real_refusal_shortens_the_prompt_and_calibrates_the_estimate() -> None:
    async with server_of(2000) as (upstream, engine):
        track = Track("api", engine, window=2000, reply_reserve=100)
        first = preparer(60)
        assert (await race(track, first)).text == "fine"
        assert [chat.status for chat in upstream.chats] == [400, 200]
        assert "maximum context length is 2000" in (first.traces["api"].refused or "")
        assert first.traces["api"].memories
        for _ in range(3):
            assert (await race(track, preparer(60))).text == "fine"
        assert [chat.status for chat in upstream.chats] == [400, 200, 200, 200, 200]
