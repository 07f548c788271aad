"""The token cache: each text is counted once, the chat format is learnt."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest

from vanta.context import token_cache as room
from vanta.context.budget import OverflowReport
from vanta.context.token_cache import TokenCache, token_cache_of
from vanta.engine import Engine, TokenCount
from vanta.messages import Message, ToolCall
from vanta.testing import ScriptedEngine, count_prompt

pytestmark = pytest.mark.anyio


class Noting(ScriptedEngine):
    """Records the texts that it counts; its counter can be renamed."""

    called = "first"

    def __init__(self) -> None:
        super().__init__("fine")
        self.counted: list[str] = []

    @property
    def counter(self) -> str:
        return self.called

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        self.counted += texts
        return await super().count_texts(texts)


async def test_a_text_is_counted_once_while_the_counter_is_the_same() -> None:
    engine = Noting()
    meter = token_cache_of(engine)
    assert await meter.texts(engine, ["one", "one two", "one"]) == [1, 2, 1]
    assert await token_cache_of(engine).texts(engine, ["one two"]) == [2]
    assert engine.counted == ["one", "one two"]
    engine.called = "second"
    await meter.texts(engine, ["one"])
    assert engine.counted == ["one", "one two", "one"]


async def test_the_least_recently_used_count_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 2)
    engine = Noting()
    meter = token_cache_of(engine)
    for text in ("a", "b", "a", "c", "a", "b"):
        await meter.texts(engine, [text])
    assert engine.counted == ["a", "b", "c", "b"]


async def test_more_texts_than_the_cache_holds_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "KEPT", 2)
    engine = Noting()
    texts = ["one", "one two", "one two three", "four"]
    assert await token_cache_of(engine).texts(engine, texts) == [1, 2, 3, 1]


async def test_it_predicts_a_prompt_from_its_parts() -> None:
    engine = ScriptedEngine("fine")
    meter = token_cache_of(engine)
    call = Message("assistant", "", (ToolCall("1", "look", "{}"),))
    for messages in (
        [Message("system", "be brief"), Message("user", "one two")],
        [Message("user", "one"), Message("assistant", "two"), Message("user", "three four")],
    ):
        system = messages[0].role == "system"
        parts = await meter.messages(engine, messages)
        predicted = sum(parts) + await meter.opening(engine, system=system)
        assert predicted == count_prompt(messages)
    (called,) = await meter.messages(engine, [call])
    assert called >= count_prompt([call])


async def test_the_cache_lives_as_long_as_its_engine() -> None:
    engine = ScriptedEngine("fine")
    gone = weakref.ref(token_cache_of(engine))
    del engine
    gc.collect()
    assert gone() is None


class Plain(ScriptedEngine):
    """An engine that counts prompts only."""

    count_texts = Engine.count_texts
    counter = Engine.counter


async def test_an_engine_that_only_counts_prompts_counts_texts_by_what_they_add() -> None:
    engine = Plain("fine", name="plain", model="m")
    counted = await engine.count_texts(["", "one", "one two"])
    assert counted == [TokenCount(0, True), TokenCount(1, True), TokenCount(2, True)]
    assert engine.counter == "plain: m"


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_reported_window_holds_for_an_hour() -> None:
    clock = Clock()
    cache = TokenCache(clock)
    cache.heed(OverflowReport(4096, 5000))
    assert (cache.window(8192), cache.window(2048), cache.window(None)) == (4096, 2048, 4096)
    (fact,) = cache.learnt()
    assert (fact.what, fact.detail, fact.left_s) == ("window", "its window is 4096 tokens", 3600.0)
    cache.heed(OverflowReport(8000, 9000))
    assert cache.window(None) == 4096, "the smaller one holds"
    clock.now += 3600
    assert (cache.window(8192), cache.learnt()) == (8192, ())


@pytest.mark.parametrize(
    "report",
    [
        OverflowReport(10, 5000),
        OverflowReport(1, None),
        OverflowReport(511, 5000),
        OverflowReport(4096, 300),
        OverflowReport(4096, 300, 100),
        OverflowReport(None, 5000),
    ],
)
def test_an_implausible_window_is_not_learnt(report: OverflowReport) -> None:
    cache = TokenCache()
    cache.heed(report)
    assert cache.window(None) is None


def test_a_window_is_never_below_what_a_reply_needs_or_the_server_has_served() -> None:
    cache = TokenCache()
    cache.heed(OverflowReport(900, 5000), reply_reserve=512)
    assert cache.window(8192) == 8192, "half of it would be the reply"
    cache.note_served(3000)
    cache.heed(OverflowReport(2048, 5000))
    assert cache.window(8192) == 8192, "it has served more than that"
    cache.heed(OverflowReport(4096, 5000))
    assert cache.window(8192) == 4096
    cache.note_served(4097)
    assert cache.window(8192) == 8192, "it was wrong"


def test_a_window_is_forgotten_on_request() -> None:
    cache = TokenCache()
    cache.heed(OverflowReport(4096, 5000))
    cache.forget_window()
    assert cache.window(None) is None
