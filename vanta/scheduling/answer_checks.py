"""Checks of answers without a model: format, agreement of two answers, a verifier's yes or no.

An answer that was requested as JSON must be valid under its schema. An answer to a question must
be written in the question's script (small models often drift into another language), unless the
question asks for another language.

Two answers disagree materially if one says yes and the other no, if they name different numbers,
or if they share too few of their content words (overlap coefficient of Szymkiewicz and Simpson,
which does not penalise a longer answer). `refine` amends an answer on such a difference only.

The probability of yes is read from the first token's logprobs (P(True), Kadavath et al. 2022,
"Language Models (Mostly) Know What They Know"); without logprobs the word counts.

Invariant: free and deterministic. Scripts are recognised by Unicode names, so languages that share
a script are not distinguished.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vanta.files import parse_json
from vanta.messages import Completion

MIN_OVERLAP = 0.5
"""Share of the shorter answer's content words that the other answer must have."""

_FEW_LETTERS = 12
"""Number of letters below which a text does not reveal its script."""

_OTHER_LANGUAGE = re.compile(
    r"translat|traduc|übersetz|перевед|翻译|翻訳|번역|\b(?:in|into|auf|en)\s+"
    r"(?:english|arabic|chinese|greek|hebrew|hindi|japanese|korean|russian|thai|ukrainian)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LEADING = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_STOP_WORDS = frozenset(
    """
    the and for are was were with that this from have has had not but you your can will its into
    than then them they there their which what when who how why also such more most some any one
    two would could should been being about over under between because
    """.split()  # noqa: SIM905 - a list of words reads better as words
)


def not_under_schema(text: str, schema: Mapping[str, Any] | None) -> str | None:
    """Return why `text` is not JSON valid under `schema`, None if it is valid or without a schema.

    Without the library `jsonschema` (extra `schema`) it is only checked that the text is JSON.
    """
    if schema is None:
        return None
    try:
        value = parse_json(text)
    except ValueError as error:
        return f"not JSON: {error}"
    if importlib.util.find_spec("jsonschema") is None:
        return None
    import jsonschema

    try:
        jsonschema.validate(value, dict(schema))
    except jsonschema.ValidationError as error:
        return f"not valid under its schema: {error.message[:120]}"
    except jsonschema.SchemaError:
        return None
    return None


def in_another_script(text: str, question: str) -> str | None:
    """Return why `text` is in a wrong script for `question`, None if it is not or may be right."""
    expected, actual = _script(question), _script(text)
    if expected is None or actual is None or expected == actual:
        return None
    if _OTHER_LANGUAGE.search(question):
        return None
    return f"written in {actual.title()}, not in {expected.title()}"


def _script(text: str) -> str | None:
    """Return the script of most letters, None for few letters or no clear majority."""
    scripts = Counter(_script_of(letter) for letter in text[:2000] if letter.isalpha())
    if sum(scripts.values()) < _FEW_LETTERS:
        return None
    script, count = scripts.most_common(1)[0]
    return script if count > 0.6 * sum(scripts.values()) else None


@functools.lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """Return LATIN, CYRILLIC, CJK...: the first word of the letter's name. Kana counts as CJK."""
    word = unicodedata.name(letter, "?").split()[0].partition("-")[0]
    return "CJK" if word in {"HIRAGANA", "KATAKANA"} else word


def disagreement(first: str, second: str) -> str | None:
    """Return why `second` disagrees materially with `first`, None if it does not."""
    yes, no = _polarity(first), _polarity(second)
    if yes and no and yes != no:
        return f"it says {no}, not {yes}"
    numbers, others = _numbers(first), _numbers(second)
    if numbers and others and not numbers & others:
        return f"it says {', '.join(sorted(others)[:3])}, not {', '.join(sorted(numbers)[:3])}"
    overlap = _overlap(_content_words(first), _content_words(second))
    if overlap < MIN_OVERLAP:
        return f"it shares {overlap:.0%} of the content words"
    return None


def _polarity(text: str) -> str | None:
    match = _LEADING.match(text)
    return match.group(1).lower() if match else None


def _numbers(text: str) -> set[str]:
    return {number.replace(",", "").rstrip(".") for number in _NUMBER.findall(text)}


def _content_words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _STOP_WORDS


def _overlap(words: set[str], others: set[str]) -> float:
    if not words or not others:
        return 1.0 if words == others else 0.0
    return len(words & others) / min(len(words), len(others))


def probability_of_yes(answer: Completion) -> float | None:
    """Return the probability that a verifier says yes rather than no, None if it says neither."""
    if answer.logprobs:
        first = answer.logprobs[0]
        logprobs = dict(first.top) | {first.token: first.logprob}
        yes = sum(math.exp(logprob) for token, logprob in logprobs.items() if _is(token, "yes"))
        no = sum(math.exp(logprob) for token, logprob in logprobs.items() if _is(token, "no"))
        if yes + no > 0:
            return yes / (yes + no)
    word = answer.text.strip().strip(".!\"'*").lower()
    if word.startswith(("yes", "no")):
        return 1.0 if word.startswith("yes") else 0.0
    return None


def _is(token: str, word: str) -> bool:
    return token.strip().lower() in (word, word[0])
