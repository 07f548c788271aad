"""The token cache: each text is counted once, the chat format is learnt."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest

from vanta.context import token_cache as room
from vanta.context.token_cache import token_cache_of
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
