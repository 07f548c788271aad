"""Costs: the worst case is one, and an estimate never passes it."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from vanta.engine import GenerationRequest, Sampling, TokenCount, Tool
from vanta.messages import Completion, Message, Usage
from vanta.money import estimate_loser, max_cost_usd, output_limit
from vanta.money.costs import bounded, max_input_tokens, within_bounds
from vanta.testing import ScriptedEngine
from vanta.track import Price, Track

TRACK = Track("api", ScriptedEngine(), reply_reserve=100, price=Price(1, 2))
ASK = GenerationRequest((Message("user", "hi"),))
TOKENS = st.integers(0, 100_000)


def asking(*, max_tokens: int) -> GenerationRequest:
    return dataclasses.replace(ASK, sampling=Sampling(max_tokens=max_tokens))


def test_the_worst_case_is_the_prompt_and_the_longest_answer_that_was_asked_for() -> None:
    cost = max_cost_usd(TRACK, asking(max_tokens=10), TokenCount(1000, exact=True))
    assert cost == (1000 * 1 + 10 * 2) / 1e6


def test_an_answer_without_a_limit_is_given_the_tracks_reply_reserve() -> None:
    assert output_limit(TRACK, ASK) == 100
    assert bounded(TRACK, ASK).sampling.max_tokens == 100
    assert bounded(TRACK, asking(max_tokens=7)).sampling.max_tokens == 7


def test_a_prompt_that_was_only_estimated_may_turn_out_longer() -> None:
    sure, unsure = TokenCount(1000, exact=True), TokenCount(1000, exact=False)
    assert max_input_tokens(ASK, unsure) == 1250
    assert max_cost_usd(TRACK, ASK, unsure) > max_cost_usd(TRACK, ASK, sure)


def test_what_is_sent_beside_the_messages_is_in_the_worst_case() -> None:
    counted = TokenCount(10, exact=True)
    tool = Tool("look", "Looks things up in a book.", {"type": "object"})
    schema = Sampling(json_schema={"type": "object", "title": "an answer"})
    for more in ({"tools": (tool,)}, {"prefix": "Once upon a time"}, {"sampling": schema}):
        assert max_input_tokens(dataclasses.replace(ASK, **more), counted) > 10


def test_a_loser_is_billed_for_its_prompt_and_what_was_seen_as_an_estimate() -> None:
    seen = Completion(text="Four words were seen.", reasoning="Hm.")
    usage = estimate_loser(TRACK, ASK, TokenCount(12, exact=True), seen)
    assert usage.input_tokens == 12
    assert usage.output_tokens > 4
    assert not usage.exact
    assert estimate_loser(TRACK, ASK, TokenCount(12, exact=True), Completion()).output_tokens == 0


@given(TOKENS, st.booleans(), st.integers(1, 1000), TOKENS, TOKENS)
def test_no_estimate_costs_more_than_the_worst_case(
    prompt: int, exact: bool, limit: int, read: int, written: int
) -> None:
    counted, request = TokenCount(prompt, exact), asking(max_tokens=limit)
    usage = within_bounds(TRACK, request, counted, Usage(read, written, exact=False))
    assert TRACK.price.of(usage) <= max_cost_usd(TRACK, request, counted)


def test_what_a_provider_reports_is_billed_as_it_is() -> None:
    reported = Usage(5000, 5000)
    assert within_bounds(TRACK, ASK, TokenCount(1, exact=True), reported) is reported
