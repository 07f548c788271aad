"""Form: what can be wrong with an answer before anybody asks how sure it is.

An answer that was to be JSON has to be valid under its schema; one to a question has to be written
in the question's script (a small model that drifts into another language is a common failure),
unless the question asks for another language. Invariant: free and deterministic; scripts are told
apart by Unicode's names, so languages that share a script are not.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vanta.messages import Completion

_FEW = 12
"""Letters below which a text says too little about its script."""
_ASKS_FOR_ANOTHER = re.compile(
    r"translat|traduc|übersetz|перевед|翻译|翻訳|번역|\b(?:in|into|auf|en)\s+"
    r"(?:english|arabic|chinese|greek|hebrew|hindi|japanese|korean|russian|thai|ukrainian)",
    re.IGNORECASE,
)


def not_under_schema(text: str, schema: Mapping[str, Any] | None) -> str | None:
    """Why `text` is not the JSON that was asked for, None if it is or none was asked for.

    Without the library `jsonschema` (extra `schema`) only that it is JSON is looked at.
    """
    if schema is None:
        return None
    try:
        value = json.loads(text)
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
    """Why `text` is in another script than `question`, None if it is not or may be."""
    asked, answered = _script(question), _script(text)
    if asked is None or answered is None or asked == answered:
        return None
    if _ASKS_FOR_ANOTHER.search(question):
        return None
    return f"written in {answered.title()}, not in {asked.title()}"


def _script(text: str) -> str | None:
    """The script of most letters, None where there are few letters or no clear majority."""
    scripts = Counter(_script_of(letter) for letter in text[:2000] if letter.isalpha())
    if sum(scripts.values()) < _FEW:
        return None
    script, count = scripts.most_common(1)[0]
    return script if count > 0.6 * sum(scripts.values()) else None


@functools.lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """LATIN, CYRILLIC, CJK...: the first word of its name; Japanese and Chinese are one."""
    word = unicodedata.name(letter, "?").split()[0].partition("-")[0]
    return "CJK" if word in {"HIRAGANA", "KATAKANA"} else word


MIN_OVERLAP = 0.5
"""Share of the shorter answer's content words that the other has to have."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LEADING = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_EMPTY = frozenset(
    """
    the and for are was were with that this from have has had not but you your can will its into
    than then them they there their which what when who how why also such more most some any one
    two would could should been being about over under between because
    """.split()  # noqa: SIM905 - a list of words reads better as words
)


def disagreement(first: str, second: str) -> str | None:
    """Why `second` disagrees materially with `first`, None if it does not."""
    yes, no = _polarity(first), _polarity(second)
    if yes and no and yes != no:
        return f"it says {no}, not {yes}"
    numbers, others = _numbers(first), _numbers(second)
    if numbers and others and not numbers & others:
        return f"it says {', '.join(sorted(others)[:3])}, not {', '.join(sorted(numbers)[:3])}"
    overlap = _overlap(_content_words(first), _content_words(second))
    if overlap < MIN_OVERLAP:
        return f"it shares {overlap:.0%} of the words that matter"
    return None


def _polarity(text: str) -> str | None:
    found = _LEADING.match(text)
    return found.group(1).lower() if found else None


def _numbers(text: str) -> set[str]:
    return {number.replace(",", "").rstrip(".") for number in _NUMBER.findall(text)}


def _content_words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _EMPTY


def _overlap(one: set[str], other: set[str]) -> float:
    if not one or not other:
        return 1.0 if one == other else 0.0
    return len(one & other) / min(len(one), len(other))


def probability_of_yes(answer: Completion) -> float | None:
    """How likely the verifier says yes, of yes and no; None if it said neither."""
    if answer.logprobs:
        first = answer.logprobs[0]
        rivals = dict(first.top) | {first.token: first.logprob}
        yes = sum(math.exp(logprob) for token, logprob in rivals.items() if _is(token, "yes"))
        no = sum(math.exp(logprob) for token, logprob in rivals.items() if _is(token, "no"))
        if yes + no > 0:
            return yes / (yes + no)
    word = answer.text.strip().strip(".!\"'*").lower()
    if word.startswith(("yes", "no")):
        return 1.0 if word.startswith("yes") else 0.0
    return None


def _is(token: str, word: str) -> bool:
    return token.strip().lower() in (word, word[0])
