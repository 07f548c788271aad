"""Checks of an answer without a model: its format and script, a verifier's yes or no.

An answer that was requested as JSON must be valid under its schema. An answer to a question must
be written in the question's script (small models often drift into another language), unless the
question asks for another language.

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

_FEW_LETTERS = 12
"""Number of letters below which a text does not reveal its script."""

_OTHER_LANGUAGE = re.compile(
    r"translat|traduc|übersetz|перевед|翻译|翻訳|번역|\b(?:in|into|auf|en)\s+"
    r"(?:english|arabic|chinese|greek|hebrew|hindi|japanese|korean|russian|thai|ukrainian)",
    re.IGNORECASE,
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
        rule = "/".join(map(str, error.absolute_schema_path))  # its message quotes the answer
        return f"not valid under its schema: it breaks the rule {rule!r}"
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
