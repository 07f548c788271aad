"""Token estimates err on the high side and grow with the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.context import estimate_text, estimate_tokens
from vanta.messages import Message, ToolCall

# Counts of o200k_base from OpenAI's own cookbook ("How to count tokens with tiktoken"), and of
# text whose count follows from the rule that each word of it is one token.
KNOWN_O200K = {
    "tiktoken is great!": 6,
    "antidisestablishmentarianism": 6,
    "2 + 2 = 4": 7,
    "お誕生日おめでとう": 8,
    "hello world": 2,
    "Hello, world!": 4,
    "The quick brown fox jumps over the lazy dog.": 10,
}

# The cookbook's conversation, which the API bills as 124 prompt tokens for gpt-4o. Four of its
# messages have names there, which `Message` lacks and which cost a few tokens more.
COOKBOOK = (
    (
        "You are a helpful, pattern-following assistant that translates corporate jargon into "
        "plain English."
    ),
    "New synergies will help drive top-line growth.",
    "Things working well together will increase revenue.",
    (
        "Let's circle back when we have more bandwidth to touch base on opportunities for "
        "increased leverage."
    ),
    "Let's talk later when we're less busy about how to do better.",
    "This late pivot means we don't have time to boil the ocean for the client deliverable.",
)
COOKBOOK_TOKENS = 124


@pytest.mark.parametrize(("text", "tokens"), KNOWN_O200K.items())
def test_an_estimate_is_never_below_a_known_count(text: str, tokens: int) -> None:
    assert tokens <= estimate_text(text) <= 3 * tokens


def test_a_conversation_is_estimated_high_but_not_absurdly() -> None:
    estimate = estimate_tokens([Message("system", text) for text in COOKBOOK])
    assert not estimate.exact
    assert COOKBOOK_TOKENS <= estimate.value <= 2 * COOKBOOK_TOKENS


@pytest.mark.parametrize(
    ("text", "at_least"),
    [
        ("", 0),
        (" ", 1),
        ("\n\n\n", 3),
        ("🙂🚀", 6),
        ("汉字", 4),
        ("Привет", 6),
        ("1234567", 7),
        ('{"a":[1,2]}', 11),
        ("getUserName", 3),
        ("if (x) {\n        return;\n}", 11),
        ("\ud800", 1),
    ],
)
def test_each_class_of_characters_has_a_minimum(text: str, at_least: int) -> None:
    assert estimate_text(text) >= at_least


@given(st.text(), st.text())
def test_a_text_never_costs_less_than_its_beginning(head: str, tail: str) -> None:
    assert estimate_text(head + tail) >= estimate_text(head)


@given(st.text(alphabet="aA1 \n\t.é漢🙂", max_size=12), st.text(alphabet="aA1 \n\t.é漢🙂"))
def test_a_text_never_costs_less_where_the_classes_meet(head: str, tail: str) -> None:
    assert estimate_text(head + tail) >= estimate_text(head)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_costs_at_most_its_bytes_plus_one(text: str) -> None:
    assert estimate_text(text) <= len(text.encode()) + 1


@given(st.lists(st.text(), max_size=5), st.text())
def test_another_message_adds_tokens(texts: list[str], more: str) -> None:
    messages = [Message("user", text) for text in texts]
    with_more = [*messages, Message("assistant", more)]
    assert estimate_tokens(with_more).value > estimate_tokens(messages).value


def test_tool_calls_and_their_results_count() -> None:
    call = ToolCall("call_1", "weather", '{"city": "Ghent"}')
    plain = estimate_tokens([Message("assistant", "")]).value
    assert estimate_tokens([Message("assistant", "", (call,))]).value > plain + 10
    result = estimate_tokens([Message("tool", "", tool_call_id="call_1")]).value
    assert result > plain
