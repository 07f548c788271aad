"""Conformance: what an answer is made of, and the limits that it keeps to."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from vanta.engine import Engine
from vanta.messages import Delta
from vanta.testing.conformance.hints import Hints, answered, sample


class AnswerTests(Hints):
    """Every engine answers so."""

    async def test_the_deltas_fold_to_an_answer(self, engine: Engine) -> None:
        """There is text, and every item of the stream is a Delta."""
        outcome = await answered(engine, self.request)
        assert all(isinstance(delta, Delta) for delta in outcome.deltas)
        assert outcome.answer.text.strip(), "the answer to `request` has no text"

    async def test_only_the_last_delta_has_a_finish_reason(self, engine: Engine) -> None:
        """A stream says that it ended, once, at its end."""
        outcome = await answered(engine, self.request)
        reasons = [delta.finish_reason for delta in outcome.deltas]
        assert reasons, "the stream had no delta"
        assert reasons[-1] is not None, "the last delta has no finish_reason"
        assert not any(reasons[:-1]), "a delta before the last has a finish_reason"

    async def test_usage_is_sane(self, engine: Engine) -> None:
        """Counts are positive, the cache is part of the input, the receipt agrees."""
        outcome = await answered(engine, self.request)
        usage = outcome.answer.usage
        if not self.reports_usage:
            pytest.skip("reports_usage is False")
        assert usage is not None, "no delta has a usage"
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0
        assert 0 <= usage.cached_input_tokens <= usage.input_tokens

    async def test_the_receipt_agrees_with_the_usage(self, engine: Engine) -> None:
        """A stream that was read to its end has a receipt, with nothing after the stop."""
        outcome = await answered(engine, self.request)
        receipt, usage = outcome.receipt, outcome.answer.usage
        assert receipt is not None, "leaving the context set no receipt"
        assert receipt.tokens_after_stop == 0
        if usage and usage.exact and receipt.exact:
            assert receipt.output_tokens == usage.output_tokens
            assert receipt.input_tokens == usage.input_tokens

    async def test_max_tokens_is_respected(self, engine: Engine) -> None:
        """A long answer is cut at the limit and says so."""
        answer = (await answered(engine, sample(self.long_request, max_tokens=3))).answer
        assert answer.finish_reason == "length"
        whole = (await answered(engine, sample(self.long_request, max_tokens=9))).answer
        assert len(answer.text) < len(whole.text), "3 tokens are no shorter than 9"
        if answer.usage is not None:
            assert answer.usage.output_tokens <= 3

    async def test_a_stop_string_ends_the_answer_and_never_leaks(self, engine: Engine) -> None:
        """Neither the stop string nor its beginning gets out, however the tokens cut it."""
        if not self.deterministic:
            pytest.skip("needs an engine that answers the same request the same way")
        request = sample(self.long_request, max_tokens=24)
        whole = (await answered(engine, request)).answer.text
        assert len(whole) >= 20, "the answer to `long_request` is too short to stop"
        stop = whole[11:17]
        stopped = await answered(engine, sample(request, stop=(stop,)))
        assert stopped.answer.text == whole[: whole.index(stop)]
        assert stopped.answer.finish_reason == "stop"

    async def test_the_same_seed_gives_the_same_answer(self, engine: Engine) -> None:
        """A seed is honoured where the engine says so."""
        if not self.seeded:
            pytest.skip("seeded is False")
        request = sample(self.request, temperature=0.9, seed=7)
        texts = [(await answered(engine, request)).answer.text for _ in range(2)]
        assert texts[0] == texts[1]

    async def test_characters_are_kept_whole(self, engine: Engine) -> None:
        """A character of several bytes comes in one delta, not as halves or U+FFFD."""
        outcome = await answered(engine, self.unicode_request)
        for delta in outcome.deltas:
            assert "\ufffd" not in delta.text, "a delta has a broken character"
            delta.text.encode()
        if outcome.answer.text.isascii():
            pytest.skip("the answer to `unicode_request` has nothing but ASCII")
