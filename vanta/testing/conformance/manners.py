"""Conformance: what an engine says of itself is true, and its errors can be acted on."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import dataclasses
import json

import anyio
import pytest

from vanta.engine import Engine, GenerationRequest, Health
from vanta.errors import EngineError
from vanta.messages import Message
from vanta.testing.conformance.hints import Hints, answered, unsupported


class MannersTests(Hints):
    """Counting, listing, health, errors."""

    async def test_it_has_a_name_and_a_model(self, engine: Engine) -> None:
        """Messages can say which engine and which model."""
        assert engine.name
        assert engine.model

    async def test_counts_grow_with_the_messages(self, engine: Engine) -> None:
        """More text and more messages are never fewer tokens."""
        short = (Message("user", "one two"),)
        long = (Message("user", "one two three four five six"),)
        counts = [
            (await engine.count_tokens(messages)).value
            for messages in (short, long, (*long, Message("assistant", "seven")))
        ]
        assert counts[0] > 0
        assert counts == sorted(counts)

    async def test_the_count_keeps_its_word(self, engine: Engine) -> None:
        """An exact count is what the engine bills; an estimate is not below it."""
        count = await engine.count_tokens(self.request.messages)
        usage = (await answered(engine, self.request)).answer.usage
        assert count.exact or not self.expects_exact_counts, "the count is an estimate"
        if usage is None or not usage.exact:
            pytest.skip("the engine reports no exact usage")
        if count.exact:
            assert count.value == usage.input_tokens
        else:
            assert count.value >= usage.input_tokens, "an estimate errs on the high side"

    async def test_health_is_kept_unless_forced(self, engine: Engine) -> None:
        """A second look within 30 seconds is the first one, and says how old it is."""
        with anyio.fail_after(self.patience_s):
            first = await engine.health(force=True)
            await anyio.sleep(0.02)  # so that there is an age to tell
            second = await engine.health()
            forced = await engine.health(force=True)
        assert isinstance(first, Health)
        assert first.detail
        assert second.age_s > 0, "it looked again"
        assert forced.age_s < second.age_s, "it did not look again"

    async def test_health_never_raises(self, engine: Engine) -> None:
        """Not even of an engine that is closed."""
        await engine.aclose()
        with anyio.fail_after(self.patience_s):
            assert isinstance(await engine.health(force=True), Health)

    async def test_models_are_listed(self, engine: Engine) -> None:
        """Each has an id."""
        listed = await engine.models()
        assert all(model.id for model in listed)
        assert listed or not self.lists_models, "no model is listed"

    async def test_nothing_but_engine_errors_is_raised(self, engine: Engine) -> None:
        """However odd the request: an answer, or an EngineError."""
        odd = (
            GenerationRequest(()),
            GenerationRequest((Message("user", ""),)),
            dataclasses.replace(self.request, messages=(Message("tool", "x", tool_call_id="y"),)),
        )
        for request in (dataclasses.replace(one, sampling=self.request.sampling) for one in odd):
            with anyio.fail_after(self.patience_s):
                await self._answered_or_refused(engine, request)

    async def test_errors_say_where_and_what_to_do(self, engine: Engine) -> None:
        """Every error has the engine's name, the model and a suggestion."""
        demands = unsupported(engine.capabilities, self.request)
        if not demands:
            pytest.skip("no request is known to fail")
        with pytest.raises(EngineError) as raised:
            await answered(engine, demands[0][1])
        assert raised.value.engine == engine.name
        assert raised.value.model == engine.model
        assert raised.value.suggestion, "no suggestion"

    async def test_stats_are_plain_data(self, engine: Engine) -> None:
        """They can be printed as JSON."""
        await answered(engine, self.request)
        json.dumps(dict(engine.stats()))

    async def _answered_or_refused(self, engine: Engine, request: GenerationRequest) -> None:
        try:
            await answered(engine, request)
        except EngineError:
            return
