"""Prices come from the configuration or the list; no estimate exceeds a leg's maximum cost."""

from __future__ import annotations

import dataclasses
import datetime

from hypothesis import given
from hypothesis import strategies as st

from vanta.config import TrackConfig
from vanta.engine import GenerationRequest, Sampling, TokenCount, Tool
from vanta.messages import Completion, Message, Usage
from vanta.money import listed_prices, price_of
from vanta.money.costs import (
    bounded,
    estimate_loser,
    max_cost_usd,
    max_input_tokens,
    output_limit,
    within_bounds,
)
from vanta.testing import ScriptedEngine
from vanta.track import Price, Track

TRACK = Track("api", ScriptedEngine(), reply_reserve=100, price=Price(1, 2))
ASK = GenerationRequest((Message("user", "hi"),))
TOKENS = st.integers(0, 100_000)


def asking(*, max_tokens: int) -> GenerationRequest:
    return dataclasses.replace(ASK, sampling=Sampling(max_tokens=max_tokens))


def test_the_maximum_cost_is_the_prompt_and_the_longest_requested_answer() -> None:
    cost = max_cost_usd(TRACK, asking(max_tokens=10), TokenCount(1000, exact=True))
    assert cost == (1000 * 1 + 10 * 2) / 1e6


def test_an_answer_without_a_limit_gets_the_tracks_reply_reserve() -> None:
    assert output_limit(TRACK, ASK) == 100
    assert bounded(TRACK, ASK).sampling.max_tokens == 100
    assert bounded(TRACK, asking(max_tokens=7)).sampling.max_tokens == 7


def test_an_estimated_prompt_may_turn_out_longer() -> None:
    sure, unsure = TokenCount(1000, exact=True), TokenCount(1000, exact=False)
    assert max_input_tokens(ASK, unsure) == 1250
    assert max_cost_usd(TRACK, ASK, unsure) > max_cost_usd(TRACK, ASK, sure)


def test_tools_schema_and_prefix_are_in_the_maximum_cost() -> None:
    counted = TokenCount(10, exact=True)
    tool = Tool("look", "Looks things up in a book.", {"type": "object"})
    schema = Sampling(json_schema={"type": "object", "title": "an answer"})
    for more in ({"tools": (tool,)}, {"prefix": "Once upon a time"}, {"sampling": schema}):
        assert max_input_tokens(dataclasses.replace(ASK, **more), counted) > 10


def test_a_loser_is_billed_an_estimate_of_its_prompt_and_its_text() -> None:
    seen = Completion(text="Four words were seen.", reasoning="Hm.")
    usage = estimate_loser(TRACK, ASK, TokenCount(12, exact=True), seen)
    assert usage.input_tokens == 12
    assert usage.output_tokens > 4
    assert not usage.exact
    assert estimate_loser(TRACK, ASK, TokenCount(12, exact=True), Completion()).output_tokens == 0


@given(TOKENS, st.booleans(), st.integers(1, 1000), TOKENS, TOKENS)
def test_no_estimate_costs_more_than_the_maximum(
    prompt: int, exact: bool, limit: int, read: int, written: int
) -> None:
    counted, request = TokenCount(prompt, exact), asking(max_tokens=limit)
    estimate = Usage(read, written, exact=False)
    usage = within_bounds(TRACK, request, counted, estimate, Completion())
    assert TRACK.price.of(usage) <= max_cost_usd(TRACK, request, counted)


def test_usage_reported_by_a_provider_is_billed_unchanged() -> None:
    reported = Usage(5000, 5000)
    assert within_bounds(TRACK, ASK, TokenCount(1, exact=True), reported, Completion()) is reported


def test_an_answer_beyond_its_limit_is_billed_as_it_was_seen() -> None:
    limited = GenerationRequest(ASK.messages, Sampling(max_tokens=10))
    seen = Completion(text="word " * 400, reasoning="hm " * 40)
    usage = estimate_loser(TRACK, limited, TokenCount(12, exact=True), seen)
    assert usage.output_tokens >= 440
    short = Completion(text="word " * 12)
    assert estimate_loser(TRACK, limited, TokenCount(12, exact=True), short).output_tokens == 10


def track(model: str = "gpt-4o-mini", **changes: object) -> TrackConfig:
    return TrackConfig.model_validate({"engine": "openai", "model": model, **changes})


def test_a_listed_model_has_its_listed_price() -> None:
    assert price_of(track()) == Price(0.15, 0.60)


def test_each_configured_price_overrides_the_list() -> None:
    assert price_of(track(input_usd_per_mtok=9.0)) == Price(9, 0.60)
    assert price_of(track(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)) == Price()
    assert price_of(track("mine", output_usd_per_mtok=1.0)) == Price(0, 1, known=False)
    assert price_of(track("mine", input_usd_per_mtok=0.0)) == Price(0, 0, known=False)


def test_a_price_is_not_derived_from_a_similar_name() -> None:
    assert price_of(track("gpt-4o-mini-2099-01-01")) is None


def test_a_private_track_is_free_unless_it_has_a_price() -> None:
    assert price_of(track("any.gguf", private=True)) == Price()
    assert price_of(track(private=True)) == Price()
    assert price_of(track(private=True, output_usd_per_mtok=0.0)) == Price()
    assert price_of(track(private=True, input_usd_per_mtok=1.0)) == Price(1, 0, known=False)


def test_every_listed_price_is_positive_and_dated() -> None:
    for model, listed in listed_prices().items():
        price = listed.price
        assert 0 < price.input_usd_per_mtok < price.output_usd_per_mtok, model
        assert isinstance(listed.checked, datetime.date)
