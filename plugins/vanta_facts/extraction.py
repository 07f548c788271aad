"""Facts from an exchange: the schema of the model's answer, and which of its facts are believed.

The answer is valid JSON by construction, but may be invented. A fact therefore counts only as far
as its words are the user's own. Invariant: pure; whatever the model writes, `believed_facts`
returns facts within the limits, or none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vanta.files import parse_json
from vanta.language import comparable, terms, without_function_words

MAX_FACTS = 4
"""Facts that one exchange may yield."""

MAX_ABOUT = 40
MAX_FACT = 160
"""Characters of a fact's topic, and of the fact."""

MIN_CONFIDENCE = 0.6

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "facts": {
            "type": "array",
            "maxItems": MAX_FACTS,
            "items": {
                "type": "object",
                "properties": {
                    "about": {"type": "string", "minLength": 1, "maxLength": MAX_ABOUT},
                    "fact": {"type": "string", "minLength": 1, "maxLength": MAX_FACT},
                },
                "required": ["about", "fact"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["facts"],
    "additionalProperties": False,
}

_NAME = re.compile(r"[^\W\d_]+|\d+")
_END = re.compile("[.!?\u0964\u061f](?= |$)|[\u3002\uff01\uff1f]")
"""The end of a sentence, also in Hindi, Arabic, Chinese and Japanese."""

_STEM = 4
"""Words with the same first letters count as forms of one word ("live", "lives")."""

_STOP_WORDS = frozenset(
    {"user", "users", "that", "this", "with", "from", "have", "been", "they", "their", "will"}
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about the user.

    about: its topic in lower case ("home town"); a later fact about the same topic replaces it.
    confidence: the share of its words that the user used, 0 to 1.
    """

    about: str
    text: str
    confidence: float


def believed_facts(answer: str, message: str) -> list[Fact]:
    """Return the facts in a model's answer that the user's message supports."""
    facts: dict[str, Fact] = {}
    for about, text in _parse(answer):
        fact = Fact(about, text, confidence(text, message))
        if fact.confidence >= MIN_CONFIDENCE and about not in facts:
            facts[about] = fact
    return list(facts.values())[:MAX_FACTS]


def confidence(text: str, message: str) -> float:
    """Return the share of a fact's significant words that occur in the message, in some form.

    Numbers, words of more than three letters, and the words of scripts other than Latin are
    significant. A fact without any, or with a name or a number that the message lacks, has the
    confidence 0.
    """
    known = {_stem(word) for word in terms(message)}
    names = [word for word in _NAME.findall(text)[1:] if word[0].isupper() or word.isdigit()]
    if any(_stem(word) not in known for name in names for word in terms(name)):
        return 0.0
    significant = [word for word in _content(text) if _is_significant(word)]
    if not significant:
        return 0.0
    return sum(_stem(word) in known for word in significant) / len(significant)


def same_words(first: str, second: str) -> bool:
    """Return whether two facts differ at most in case and punctuation."""
    return comparable(first) == comparable(second)


def _parse(answer: str) -> Iterator[tuple[str, str]]:
    try:
        pairs = [(str(item["about"]), str(item["fact"])) for item in parse_json(answer)["facts"]]
    except (ValueError, LookupError, TypeError):  # cut off at the token limit
        return
    for about, text in pairs:
        topic, fact = comparable(about), _first_sentence(" ".join(text.split()))
        if topic and fact:
            yield topic[:MAX_ABOUT], fact[:MAX_FACT]


def _first_sentence(text: str) -> str:
    """Return the first sentence: a fact is one, and small models repeat themselves after it."""
    end = _END.search(text)
    return text[: end.end()].rstrip() if end else text


def _content(text: str) -> list[str]:
    words = terms(text)
    content = set(without_function_words(words))
    return [word for word in words if word.isascii() or word in content]


def _is_significant(word: str) -> bool:
    if not word.isascii():
        return True
    return word.isdigit() or (len(word) > 3 and word not in _STOP_WORDS)


def _stem(word: str) -> str:
    return word if word.isdigit() else word[:_STEM]
