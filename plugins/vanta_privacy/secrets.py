"""The detector of secrets: keys by their format, other credentials by the place where they stand.

A value in such a place counts unless it is a reference (`$PASSWORD`, `os.environ[...]`), a
placeholder (`<your key>`, `********`), a type or a plain word. Where the place leaves doubt, as in
a sentence, the value must look random. Invariant: it takes linear time.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from vanta_privacy.credentials import (
    AUTHORIZATION,
    BESIDE,
    ENVIRONMENT,
    FORMATS,
    IN_URL,
    OPEN_ASSIGNMENT,
    OPTION,
    PRIVATE_KEY,
    QUOTED_ASSIGNMENT,
    SENTENCE,
    WORDS,
)
from vanta_privacy.normalisation import normalise

_MIN_ENTROPY_BITS = 2.5
_REFERENCE = re.compile(
    r"[$%<{\[(*#|~/\\&]|\.{2,}|(?:your|enter|insert|replace|change|put|add|my)[ _-]|[A-Za-z_][\w.]*[(\[{]"
    r"|(?:self|this|process|os|env|var|config|settings|secrets|data|form|request|user|args)\.\w",
    re.IGNORECASE,
)
"""Beginnings of what only stands for a value: variables, templates, calls, paths, instructions."""

_PLAIN_WORDS = frozenset(
    "string str text none null nil true false undefined required optional invalid missing empty "
    "hidden redacted example sample value bearer basic bool boolean integer object varchar default "
    "pass passwd password pw pwd secret token hash reset prompt ask forgotten changeme".split()
)
_CONSTANT = re.compile(r"[A-Z]+(?:_[A-Z]+)+$|[A-Z]{4,}$")
_ENDS = ".,;:!?)]}>\"'。，"


class SecretDetector:
    """Detects keys, tokens, passwords and private keys."""

    name = "secrets"
    summary = "API keys, tokens, private keys, passwords"

    def find(self, text: str) -> str | None:
        """Return the kind of secret in `text`, or None.

        :param text: the user's message.
        """
        text = normalise(text)
        if PRIVATE_KEY.search(text):
            return "a private key"
        if any(_is_key(value) for value in _keys(text)):
            return "an API key or token"
        return "a password or key" if any(_credentials(text)) else None


def _keys(text: str) -> Iterator[str]:
    for prefix, pattern in FORMATS.items():
        if prefix in text:  # much faster than to search for the pattern
            yield from (match["value"] for match in pattern.finditer(text))


def _is_key(body: str) -> bool:
    has_capital_or_digit = any(char.isdigit() or char.isupper() for char in body)
    return has_capital_or_digit and len(set(body)) >= 4


def _credentials(text: str) -> Iterator[str]:
    """Yield the values in `text` that are credentials."""
    for match in AUTHORIZATION.finditer(text):
        if _is_mixed(match["value"]):
            yield match["value"]
    for match in IN_URL.finditer(text):
        value = match["value"] or match["parameter"]
        if _is_value(value) and (match["value"] or _is_mixed(value)):
            yield value
    for match in OPTION.finditer(text):
        if _is_mixed(match["value"]):
            yield match["value"]
    if WORDS.search(text) or re.search(r"(?i:pass|pwd|pw|psk)", text):
        yield from _assigned(text)


def _assigned(text: str) -> Iterator[str]:
    for match in QUOTED_ASSIGNMENT.finditer(text):
        value = match["value"]
        if _is_value(value) and (_is_password(match["name"]) or _looks_random(value)):
            yield value
    for match in ENVIRONMENT.finditer(text):
        if match["name"].isupper() and _is_value(match["value"]):
            yield match["value"]
    for pattern in (OPEN_ASSIGNMENT, SENTENCE):
        for match in pattern.finditer(text):
            value = match["value"].split("&")[0]
            if _looks_random(value):
                yield value
    for match in BESIDE.finditer(text):
        value = match["value"] or match["open"]
        if _is_mixed(value) and _looks_random(value):
            yield value


def _is_password(name: str) -> bool:
    return not re.search(r"token|secret|credential", name, re.IGNORECASE)


def _is_value(value: str) -> bool:
    """Return whether `value` may be a credential: no reference, placeholder, type or label."""
    if len(value) < 4 or len(set(value)) < 3 or _REFERENCE.match(value) or _CONSTANT.match(value):
        return False
    is_label = bool(WORDS.search(value)) and not any(map(str.isdigit, value))
    return not is_label and value.lower() not in _PLAIN_WORDS


def _is_mixed(value: str) -> bool:
    """Return whether `value` may be a credential and has both letters and digits."""
    kinds = (str.isalpha, str.isdigit)
    return _is_value(value) and all(any(map(kind, value)) for kind in kinds)


def _looks_random(value: str) -> bool:
    """Return whether a value mixes kinds of characters and has enough entropy for a secret."""
    word = value.rstrip(_ENDS)
    if len(word) < 6 or not _is_value(word):
        return False
    kinds = [any(map(kind, word)) for kind in (str.isalpha, str.isdigit)]
    kinds.append(bool(re.search(r"[^\w.,;:/'\" -]", word)))
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return sum(kinds) >= 2 and entropy >= _MIN_ENTROPY_BITS
