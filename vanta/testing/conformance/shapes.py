"""Conformance: what an engine claims to be capable of, it does; the rest it refuses."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import dataclasses
import json

import anyio
import pytest

from vanta.engine import Engine
from vanta.errors import EngineError, ErrorKind
from vanta.testing.conformance.hints import GRAMMAR, SCHEMA, Hints, answered, sample, unsupported

_ENOUGH = 8  # characters by which a text is known again


class ShapeTests(Hints):
    """Capabilities are true, both ways."""

    async def test_what_it_cannot_do_is_refused(self, engine: Engine) -> None:
        """A request that needs a missing capability raises `unsupported`, at once."""
        demands = unsupported(engine.capabilities, self.request)
        if not demands:
            pytest.skip("it can do everything")
        for name, request in demands:
            with anyio.fail_after(self.patience_s), pytest.raises(EngineError) as raised:
                await answered(engine, request)
            assert raised.value.kind is ErrorKind.UNSUPPORTED, name

    async def test_logprobs_have_their_shape(self, engine: Engine) -> None:
        """Natural logarithms, at most as many rivals as asked for, best first."""
        if not engine.capabilities.logprobs:
            pytest.skip("no logprobs")
        tokens = (await answered(engine, sample(self.request, logprobs=2))).answer.logprobs
        assert tokens, "logprobs were asked for and none came"
        for token in tokens:
            rivals = [value for _, value in token.top]
            assert token.logprob <= 1e-4
            assert len(rivals) <= 2
            assert rivals == sorted(rivals, reverse=True)

    async def test_logprobs_come_only_where_asked(self, engine: Engine) -> None:
        """Nobody pays for what nobody asked for."""
        assert not (await answered(engine, self.request)).answer.logprobs

    async def test_a_prefix_is_continued_and_not_repeated(self, engine: Engine) -> None:
        """The answer goes on where the prefix ends."""
        if not engine.capabilities.prefix_continuation:
            pytest.skip("no prefix continuation")
        request = sample(self.long_request, max_tokens=24)
        prefix = _first_half((await answered(engine, request)).answer.text)
        rest = (await answered(engine, dataclasses.replace(request, prefix=prefix))).answer.text
        assert rest.strip(), "nothing came after the prefix"
        assert not rest.lstrip().startswith(prefix[:_ENOUGH]), "the prefix was said again"

    async def test_a_grammar_is_kept(self, engine: Engine) -> None:
        """The answer is in the language of the grammar."""
        if not engine.capabilities.grammar:
            pytest.skip("no grammar")
        answer = (await answered(engine, sample(self.request, grammar=GRAMMAR))).answer
        assert answer.text in {"yes", "no"}

    async def test_a_json_schema_is_kept(self, engine: Engine) -> None:
        """The answer is JSON of the schema."""
        if not engine.capabilities.json_schema:
            pytest.skip("no JSON schema")
        request = sample(self.request, json_schema=SCHEMA, max_tokens=64)
        data = json.loads((await answered(engine, request)).answer.text)
        assert isinstance(data, dict)
        assert set(data) == {"ok"}
        assert isinstance(data["ok"], bool)


def _first_half(whole: str) -> str:
    """About half of `whole`, cut where going on does not look like starting again: small models
    turn in circles."""
    whole = whole.lstrip()
    cuts = range(len(whole) // 2, len(whole))
    start = whole[:_ENOUGH]
    cut = next((cut for cut in cuts if not whole[cut:].lstrip().startswith(start)), len(whole))
    return whole[:cut].rstrip()
