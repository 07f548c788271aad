"""From an exchange to facts: what is asked of the model, and what is believed of its answer.

The answer is valid JSON by construction, and still may be made up; so a fact counts only as far as
its words are the user's own. Invariant: pure; whatever the model writes, `believed` gives facts in
bounds, or none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST = 4
"""Facts that one exchange may give."""

ABOUT = 40
FACT = 160
"""Characters of what a fact is about, and of the fact."""

LEAST_CONFIDENCE = 0.6

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "facts": {
            "type": "array",
            "maxItems": MOST,
            "items": {
                "type": "object",
                "properties": {
                    "about": {"type": "string", "minLength": 1, "maxLength": ABOUT},
                    "fact": {"type": "string", "minLength": 1, "maxLength": FACT},
                },
                "required": ["about", "fact"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["facts"],
    "additionalProperties": False,
}

_WORD = re.compile(r"\w+")
_END = re.compile(r"[.!?](?= |$)")
_STEM = 4
"""Letters by which two forms of a word are taken for one ("live", "lives")."""

_EMPTY = frozenset(
    {"user", "users", "that", "this", "with", "from", "have", "been", "they", "their", "will"}
)
"""Words that say nothing of their own in a fact."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. about: what it is about, in small letters ("home town"): a later fact about the
    same takes its place. confidence: the share of its words that the user used, 0 to 1."""

    about: str
    text: str
    confidence: float


def believed(answer: str, said: str) -> list[Fact]:
    """The facts in a model's answer that what the user said bears out."""
    facts: dict[str, Fact] = {}
    for about, text in _read(answer):
        fact = Fact(about, text, confidence(text, said))
        if fact.confidence >= LEAST_CONFIDENCE and about not in facts:
            facts[about] = fact
    return list(facts.values())[:MOST]


def confidence(text: str, said: str) -> float:
    """The share of a fact's telling words (numbers, and words of more than three letters) that are
    in what was said, in some form; 0 for a fact without any, and for one with a name or a number
    that nobody said."""
    known = {_stem(word) for word in _words(said)}
    exact = [word for word in _WORD.findall(text)[1:] if word[0].isupper() or word.isdigit()]
    if any(_stem(word.casefold()) not in known for word in exact):
        return 0.0
    telling = [word for word in _words(text) if _tells(word)]
    return sum(_stem(word) in known for word in telling) / len(telling) if telling else 0.0


def same_words(one: str, other: str) -> bool:
    """Whether two facts say the same, but for case and punctuation."""
    return _words(one) == _words(other)


def _read(answer: str) -> Iterator[tuple[str, str]]:
    try:
        facts = json.loads(answer)["facts"]
        told = [(str(one["about"]), str(one["fact"])) for one in facts]
    except (ValueError, LookupError, TypeError):  # cut off at its most tokens
        return
    for about, text in told:
        key, fact = " ".join(_words(about)), _first_sentence(" ".join(text.split()))
        if key and fact:
            yield key[:ABOUT], fact[:FACT]


def _first_sentence(text: str) -> str:
    """One fact is one sentence; a small model repeats itself in those that follow."""
    end = _END.search(text)
    return text[: end.end()].rstrip() if end else text


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _tells(word: str) -> bool:
    return word.isdigit() or (len(word) > 3 and word not in _EMPTY)


def _stem(word: str) -> str:
    return word if word.isdigit() else word[:_STEM]
