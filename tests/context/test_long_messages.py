"""Messages of megabytes are refused by their size, or counted in slices; the loop keeps running."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from vanta.bounds import MOST_CHARACTERS
from vanta.context import assemble, estimate_text
from vanta.context.estimate_calibration import features
from vanta.engine import TokenCount
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.messages import Exchange, Message
from vanta.testing import LoadMeter, ScriptedEngine, open_scripted
from vanta.track import Track

pytestmark = pytest.mark.anyio

BUSY_S = 0.15


class CountingEngine(ScriptedEngine):
    """Records the characters that it was requested to count."""

    counted = 0

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count a token for each four characters."""
        self.counted += sum(map(len, texts))
        return [TokenCount(len(text) // 4, exact=True) for text in texts]

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count a token for each four characters."""
        self.counted += sum(len(message.content) for message in messages)
        return TokenCount(sum(len(message.content) // 4 for message in messages), exact=True)


def track(engine: ScriptedEngine, window: int | None) -> Track:
    return Track("t", engine, window=window, reply_reserve=16)


def said(size: int, text: str = "word ") -> Message:
    return Message("user", text * (size // len(text)))


async def refusal_of(engine: CountingEngine, window: int | None, message: Message) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await assemble(track(engine, window), "", (), (message,))
    assert caught.value.kind is ErrorKind.CONTEXT_OVERFLOW
    return caught.value


async def test_a_message_that_no_window_holds_is_refused_without_a_count() -> None:
    engine = CountingEngine("hi")
    error = await refusal_of(engine, 1000, said(1_000_000))
    assert engine.counted == 0
    assert "1000000 characters" in error.message
    assert "Shorten" in error.suggestion


async def test_a_message_is_counted_only_as_far_as_the_window_reaches() -> None:
    engine = CountingEngine("hi")
    await refusal_of(engine, 10_000, said(1_000_000))
    assert engine.counted < 100_000


async def test_a_message_that_fits_is_not_refused_by_its_slices() -> None:
    engine = CountingEngine("hi")
    assembled = await assemble(track(engine, 100_000), "", (), (said(300_000),))
    assert assembled.tokens is not None
    assert assembled.tokens.value == 75_000


async def test_an_unknown_window_has_a_bound_too() -> None:
    error = await refusal_of(CountingEngine("hi"), None, said(MOST_CHARACTERS + 10))
    assert str(MOST_CHARACTERS) in error.message


async def test_history_beyond_the_bound_is_left_out_of_an_unknown_window() -> None:
    engine = CountingEngine("hi")
    old = Exchange((said(MOST_CHARACTERS // 2), Message("assistant", "yes")))
    assembled = await assemble(track(engine, None), "", [old, old, old], (said(10),))
    assert assembled.dropped == 2


async def test_a_huge_exchange_in_the_past_is_dropped_without_a_count() -> None:
    engine = CountingEngine("hi")
    huge = Exchange((said(5_000_000), Message("assistant", "yes")))
    small = Exchange((said(100), Message("assistant", "yes")))
    assembled = await assemble(track(engine, 1000), "", [huge, small], (said(10),))
    assert (assembled.dropped, engine.counted < 10_000) == (1, True)


@pytest.mark.parametrize("text", ["word ", "x", "\U0001f600 ", "a1B2"])
def test_a_long_text_is_estimated_in_slices_like_a_whole(text: str) -> None:
    whole = text * (200_000 // len(text))
    one = estimate_text(text * (20_000 // len(text)))
    assert estimate_text(whole) == pytest.approx(10 * one, rel=0.02)
    parts = features(text * (20_000 // len(text)))
    assert features(whole) == pytest.approx([10 * part for part in parts], rel=0.02, abs=10)


@pytest.mark.parametrize(
    ("size", "window"),
    # The scripted engine itself counts what it is sent, at 15 MB a second.
    [(2_000_000, 8192), (50_000_000, 8192), (50_000_000, None), (400_000, None)],
)
async def test_a_turn_of_megabytes_ends_in_time_and_holds_up_nothing(
    tmp_path: Path, size: int, window: int | None
) -> None:
    settings = {
        "api": ScriptedEngine("hi", window=window),
        "policy": "api",
        "privacy": {"detect": ["secrets", "email", "phone", "card"]},
        "tracks": {"api": {"private": True}},
    }
    message = "junk-9 4:a@b " * (size // 13)
    async with open_scripted(tmp_path, settings) as runtime:
        await runtime.session("warm").ask("hello")
        began = time.monotonic()
        async with LoadMeter() as load:
            try:
                reply = await runtime.session("s").ask(message, deadline_s=2.0)
            except AllTracksFailed as failure:
                assert window is not None or size > MOST_CHARACTERS
                kinds = {error.kind for error in failure.causes}
                assert kinds <= {ErrorKind.CONTEXT_OVERFLOW, ErrorKind.TIMEOUT}
            else:
                assert reply.text == "hi"
        assert time.monotonic() - began < 4.0
    assert load.longest_busy_s < BUSY_S
