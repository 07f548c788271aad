"""The calibrated estimate: what it learns, and the bound that it never exceeds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.context.estimate_calibration import (
    FEATURES,
    SHORTEST,
    TRUSTED,
    Calibration,
    byte_bound,
    features,
)
from vanta.messages import Message, ToolCall

texts = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello big wonderful world", {"one-token words": 4, "other words": 0}),
        ("zxqv wrtpk", {"other words": 2, "letters of other words": 9}),
        ("ABC", {"other words": 1, "letters of other words": 3, "capitals": 3}),
        ("userName2", {"other words": 1, "changes inside a word, of case or to a digit": 2}),
        ("12 3456", {"digits": 6, "runs of digits": 2}),
        ('{"a": [1]}', {"signs": 7, "runs of signs": 4, "other words": 1, "digits": 1}),
        ("a\n\n   b", {"line breaks": 2, "runs of spaces": 1, "spaces in them": 3}),
        ("Привет, мир", {"Cyrillic letters": 9, "words of them": 2, "signs": 1}),
        ("né", {"other words": 1, "other characters of two bytes": 1}),
        ("漢字的鰴", {"common Han characters": 3, "rare Han characters": 1}),
        ("ひらカナ", {"kana and CJK signs": 4}),
        ("한국어", {"Hangul syllables": 3}),
        ("ไทย", {"other characters of three bytes": 3}),
        ("🙂🚀", {"characters of four bytes, and control characters": 2}),
        ("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=", {"characters of codes, like base64": 32}),
        ("xkqj" * 20 + " word", {"one-token words": 1, "characters of codes, like base64": 80}),
        ("thisisaverylongwordwithnothingelse", {"other words": 1, "one-token words": 0}),
        ("\x1b[2\x00", {"signs": 1, "characters of four bytes, and control characters": 2}),
        ("a\tb  c d\r\ne\rf", {"runs of spaces": 2, "spaces in them": 3, "line breaks": 1}),
        ("", {}),
    ],
)
def test_the_features_of_a_text_are_counted(text: str, found: dict[str, int]) -> None:
    counted = dict(zip((feature.name for feature in FEATURES), features(text), strict=True))
    assert {name: counted[name] for name in found} == found
    assert all(value >= 0 for value in counted.values())
    if not found:
        assert not any(counted.values())


@given(st.text())
def test_any_text_has_features(text: str) -> None:
    counted = features(text)
    assert len(counted) == len(FEATURES)
    assert min(counted) >= 0


Tokenizer = Callable[[str], int]


def by_words(text: str) -> int:
    """Cheap words, expensive signs."""
    return len(text.split()) + 2 * sum(not c.isalnum() and not c.isspace() for c in text)


def by_bytes(text: str) -> int:
    """The most expensive tokenizer."""
    return len(text.encode())


def prompt(draw: random.Random) -> list[Message]:
    words = ["apple", "river", "is", "the", "Ghent", "42", "{}", "été", "漢字", "🙂", "x = y(1);"]
    return [
        Message("user", " ".join(draw.choices(words, k=draw.randint(20, 80))))
        for _ in range(draw.randint(1, 6))
    ]


def tokens(messages: list[Message], tokenizer: Tokenizer) -> int:
    return sum(tokenizer(message.content) + 4 for message in messages) + 3


@pytest.mark.parametrize("tokenizer", [by_words, by_bytes])
def test_it_comes_close_to_a_tokenizer_that_it_never_sees(tokenizer: Tokenizer) -> None:
    calibration, draw = Calibration(), random.Random(7)  # noqa: S311 - no secret
    for _ in range(4 * TRUSTED):
        seen = prompt(draw)
        calibration.learn(seen, tokens(seen, tokenizer))
    new = [prompt(draw) for _ in range(100)]
    true = [tokens(messages, tokenizer) for messages in new]
    counted = [calibration.count(messages).value for messages in new]
    assert all(high >= low for high, low in zip(counted, true, strict=True))
    assert sum(counted) <= 1.15 * sum(true)


def test_with_few_samples_the_worst_shortfall_is_corrected() -> None:
    calibration = Calibration()
    seen = [Message("user", "word " * 200)]
    plain = calibration.count(seen).value
    calibration.learn(seen, plain // 2)
    assert calibration.count(seen).value == plain
    calibration.learn(seen, plain + plain // 5)
    assert plain * 1.2 <= calibration.count(seen).value <= plain * 1.22


def test_a_shortfall_is_corrected_at_once() -> None:
    calibration, draw = Calibration(), random.Random(3)  # noqa: S311 - no secret
    for _ in range(TRUSTED + 1):
        seen = prompt(draw)
        calibration.learn(seen, tokens(seen, by_words))
    name, expensive = calibration.name, prompt(draw)
    high = calibration.count(expensive).value * 11 // 10
    calibration.learn(expensive, high)
    assert calibration.name != name
    assert calibration.count(expensive).value >= min(high, byte_bound(expensive))


def test_its_name_changes_seldom() -> None:
    """Cached counts depend on it, and so does the cut of the history."""
    calibration, draw = Calibration(), random.Random(5)  # noqa: S311 - no secret
    names = set()
    for _ in range(10 * TRUSTED):
        seen = prompt(draw)
        calibration.learn(seen, tokens(seen, by_words))
        names.add(calibration.name)
    assert len(names) <= 12


def test_short_prompts_are_ignored() -> None:
    calibration = Calibration()
    calibration.learn([Message("user", "hi")], SHORTEST - 1)
    assert calibration.samples == 0


@given(st.lists(texts, max_size=4), st.floats(1.0, 3.0))
def test_no_count_exceeds_the_byte_bound(contents: list[str], ratio: float) -> None:
    calibration = Calibration()
    seen = [Message("user", "word " * 100)]
    calibration.learn(seen, int(calibration.count(seen).value * ratio))
    messages = [Message("user", text) for text in contents]
    assert calibration.count(messages).value <= byte_bound(messages)
    for text in contents:
        assert calibration.count_text(text) <= len(text.encode()) + 1


@given(st.lists(texts, max_size=4))
def test_the_byte_bound_is_above_every_byte_level_tokenizer(contents: list[str]) -> None:
    messages = [Message("user", text) for text in contents]
    assert byte_bound(messages) >= tokens(messages, by_bytes)
    called = [*messages, Message("assistant", "", (ToolCall("1", "look", "{}"),))]
    assert byte_bound(called) > byte_bound(messages) + 7


def test_texts_and_prompts_are_counted_alike() -> None:
    calibration, draw = Calibration(), random.Random(9)  # noqa: S311 - no secret
    assert calibration.count_text("") == 0
    assert calibration.count_text("hello there") == 3
    for _ in range(TRUSTED):
        seen = prompt(draw)
        calibration.learn(seen, tokens(seen, by_words))
    more = prompt(draw)[0].content
    pair = [Message("user", text) for text in (more, "")]
    alone = calibration.count_text(more)
    assert 0 <= calibration.count(pair).value - alone <= 20


@pytest.mark.parametrize("tokens", [10**9, 0, -5, 65, 4_001])
def test_an_impossible_count_teaches_nothing(tokens: int) -> None:
    """A byte is at most one token, and a token of a whole prompt has few bytes."""
    calibration = Calibration()
    messages = (Message("user", "x" * 3_900),)
    before = calibration.count(messages)
    for _ in range(40):
        calibration.learn(messages, tokens)
    assert (calibration.samples, calibration.count(messages)) == (0, before)
