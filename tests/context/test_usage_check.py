"""Which token counts of a server are believed, for any engine."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta import Completion, GenerationRequest, Message, Tool, ToolCall, Usage
from vanta.context import believed_usage, finite
from vanta.context.usage_check import MAX_TOKENS, OutputLimit, fewest_tokens

REQUEST = GenerationRequest((Message("user", "a question " * 100),))
SEEN = Completion(text="word " * 400)
numbers: Any = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())


def believed(read: Any, written: Any, **rest: Any) -> Usage:
    return believed_usage(Usage(read, written), REQUEST, SEEN, **rest)


def test_possible_counts_are_believed_as_they_are() -> None:
    reported = Usage(900, 400, 100)
    assert believed_usage(reported, REQUEST, SEEN, window=8000) is not None
    assert believed_usage(reported, REQUEST, SEEN, window=8000) == reported


@pytest.mark.parametrize("count", [0, -1, 8001, 10**400, math.nan, math.inf, 1e308, True, "9"])
def test_an_impossible_count_is_replaced_and_the_other_one_is_kept(count: Any) -> None:
    usage = believed(count, 400, window=8000)
    assert (usage.output_tokens, usage.exact) == (400, False)
    assert 200 <= usage.input_tokens <= 500
    usage = believed(900, count, window=8000)
    assert (usage.input_tokens, usage.exact) == (900, False)
    assert 400 <= usage.output_tokens <= 500


def test_an_answer_has_at_least_the_tokens_of_its_text() -> None:
    assert not believed(900, 5).exact
    seen = Completion(tool_calls=(ToolCall("A1", "find", '{"q": "' + "word " * 90 + '"}'),))
    assert not believed_usage(Usage(900, 5), REQUEST, seen).exact
    assert believed_usage(Usage(900, 60), REQUEST, seen).exact


def test_an_answer_without_anything_to_see_may_have_no_tokens() -> None:
    assert believed_usage(Usage(900, 0), REQUEST, Completion()) == Usage(900, 0)


def test_hidden_reasoning_may_cost_more_than_the_text_shows() -> None:
    assert believed(900, 7000, window=8000).exact


@pytest.mark.parametrize("cached", [-1, 901, math.nan])
def test_more_cached_tokens_than_input_tokens_count_as_none(cached: Any) -> None:
    assert believed_usage(Usage(900, 400, cached), REQUEST, SEEN) == Usage(900, 400, 0)


def test_the_estimate_includes_tools_and_at_least_the_deltas() -> None:
    tool = Tool("weather", "The weather " * 50, {"type": "object"})
    with_tools = GenerationRequest(REQUEST.messages, tools=(tool,))
    plain = believed_usage(None, REQUEST, SEEN).input_tokens
    assert believed_usage(None, with_tools, SEEN).input_tokens > plain + 50
    assert believed_usage(None, REQUEST, Completion(text="a"), produced=7).output_tokens == 7


def test_a_rough_count_is_kept_if_there_is_something_to_count() -> None:
    rough = Usage(3, 2, exact=False)
    assert believed_usage(rough, REQUEST, SEEN) == rough


@given(numbers, numbers, numbers, st.text(max_size=200), st.none() | st.integers(1, 9000))
def test_any_report_becomes_a_usage_that_can_be_billed(
    read: Any, written: Any, cached: Any, text: str, window: int | None
) -> None:
    usage = believed_usage(
        Usage(read, written, cached), REQUEST, Completion(text=text), window=window
    )
    for count in (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens):
        assert isinstance(count, int)
        assert 0 <= count <= MAX_TOKENS
    assert usage.input_tokens > 0
    assert usage.output_tokens >= fewest_tokens(text) or not usage.exact


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf])
def test_a_measure_that_is_none_is_zero(value: float) -> None:
    assert finite(value) == 0
    assert finite(1.5) == 1.5


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_an_output_limit_is_passed_only_by_what_is_certainly_beyond_it(size: int) -> None:
    limit = OutputLimit(10)
    text = "word " * 21
    passed = [limit.is_passed(text[at : at + size]) for at in range(0, len(text), size)]
    assert passed[-1]
    within = OutputLimit(10)
    text = "word " * 20 + " " * 1000
    assert not any(within.is_passed(text[at : at + size]) for at in range(0, 1100, size))


def test_a_text_without_spaces_passes_a_limit_by_its_bytes() -> None:
    limit = OutputLimit(10)
    assert not limit.is_passed("x" * 1280)
    assert limit.is_passed("x")
    assert not OutputLimit(None).is_passed("x " * 10**6)
