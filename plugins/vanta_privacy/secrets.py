"""The detector of secrets: keys by their format, other credentials by the place where they stand.

A value in such a place counts unless it is a reference (`$PASSWORD`, `os.environ[...]`), a
placeholder (`<your key>`, `********`), a type or a plain word. Where the place leaves doubt, as in
a sentence, the value must look random. Invariant: it takes linear time.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

from vanta_privacy import credentials
from vanta_privacy.normalisation import normalise

_MIN_ENTROPY_BITS = 2.5
_LONG = 20
"""From this length on, a word with capitals in its middle looks random."""

_REFERENCE = re.compile(
    r"[$%<\[(*#|~/\\&]|\{(?!S?SHA|S?MD5|CRYPT|ARGON2|PBKDF2)"
    r"|\.{2,}|(?:your|enter|insert|replace|change|put|add|my)[ _-]"
    r"|[A-Za-z_][\w.]*[(\[{]"
    r"|(?:self|this|process|os|env|var|config|settings|secrets|data|form|request|user|args)\.\w",
    re.IGNORECASE,
)
"""Beginnings of what only stands for a value: variables, templates, calls, paths, instructions."""

_PLAIN_WORD = re.compile(
    r"(?:string|str|text|none|null|nil|true|false|undefined|required|optional|invalid|missing"
    r"|empty|hidden|redacted|example|sample|value|bearer|basic|bool|boolean|integer|object"
    r"|varchar|default|pass|passwd|password|pw|pwd|secret|token|hash|reset|prompt|ask"
    r"|forgotten|changeme)$",
    re.IGNORECASE,
)
_CONSTANT = re.compile(r"[A-Z]+(?:_[A-Z]+)+$|[A-Z]{4,}$")
_ENDS = ".,;:!?)]}>\"'\u3002\uff0c"


class SecretDetector:
    """Detects keys, tokens, passwords and private keys."""

    name = "secrets"
    summary = "API keys, tokens, private keys, passwords"

    def find(self, text: str) -> str | None:
        """Return the kind of secret in `text`, or None.

        :param text: the user's message.
        """
        text = normalise(text)
        if credentials.PRIVATE_KEY.search(text):
            return "a private key"
        if any(_is_key(value) for value in _keys(text)):
            return "an API key or token"
        return "a password or key" if any(_credentials(text)) else None


def _keys(text: str) -> Iterator[str]:
    for prefix, pattern in credentials.FORMATS.items():
        if prefix in text:  # much faster than to search for the pattern
            yield from (match["value"] for match in pattern.finditer(text))


def _is_key(body: str) -> bool:
    has_capital_or_digit = any(char.isdigit() or char.isupper() for char in body)
    return has_capital_or_digit and len(set(body)) >= 4


def _credentials(text: str) -> Iterator[str]:
    """Yield the values in `text` that are credentials."""
    for pattern in (credentials.AUTHORIZATION, credentials.PARAMETER, credentials.OPTION):
        yield from filter(_is_mixed, _values(pattern, text))
    yield from filter(_is_value, _values(credentials.USER_INFO, text))
    # The dotted I is the one character whose lower case has another length.
    lower = text.replace("\u0130", "I").lower()
    for word in credentials.WORD.finditer(lower):
        start = word.start()
        if word["short"] and not _begins_part_of_name(text, start):
            continue
        if suffix := credentials.SUFFIX.match(text, word.end()):
            yield from _assigned(text, text[start : word.end()], suffix.end())


def _values(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (match["value"] for match in pattern.finditer(text))


def _begins_part_of_name(text: str, start: int) -> bool:
    """Return whether a part of a name in snake_case or camelCase, or a word, begins at `start`."""
    before = text[start - 1 : start]
    return not before.isalpha() or (before.islower() and text[start].isupper())


def _assigned(text: str, word: str, end: int) -> Iterator[str]:
    """Yield the credentials that the name with `word`, which ends at `end`, has as its value."""
    match = credentials.QUOTED.match(text, end)
    if match and _fits(match["sign"], word)(match["value"]):
        yield match["value"]
    match = credentials.VARIABLE.match(text, end)
    if match and word.isupper() and _is_value(match["value"]):
        yield match["value"]
    match = credentials.OPEN.match(text, end)
    if match and _looks_random(match["value"].split("&")[0]):
        yield match["value"]
    match = None if word.lower() == "pass" else credentials.SENTENCE.match(text, end)
    value = (match["quoted"] or match["value"]).strip("`.") if match else ""
    if _looks_random(value):
        yield value
    match = credentials.BESIDE.match(text, end)
    value = (match["value"] or match["open"]) if match else ""
    if _is_mixed(value) and _looks_random(value):
        yield value


def _fits(sign: str, word: str) -> Callable[[str], bool]:
    """Return the check of a quoted value that `sign` parts from a name with `word`."""
    if sign in {",", "("}:  # also between words in a list, and before any argument
        return _is_mixed
    return _is_value if _is_password(word) else _looks_random


def _is_password(word: str) -> bool:
    return not re.match(r"token|secret$|credential", word.lower())


def _is_value(value: str) -> bool:
    """Return whether `value` may be a credential: no reference, placeholder, type or label."""
    if len(value) < 4 or len(set(value)) < 3 or _REFERENCE.match(value) or _CONSTANT.match(value):
        return False
    is_label = bool(credentials.LABEL.search(value.lower())) and not any(map(str.isdigit, value))
    return not is_label and not _PLAIN_WORD.match(value)


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
    kinds.append(len(word) >= _LONG and bool(re.search(r"[a-z][A-Z]", word)) and word.isalnum())
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return sum(kinds) >= 2 and entropy >= _MIN_ENTROPY_BITS
