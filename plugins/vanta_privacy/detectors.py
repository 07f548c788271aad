"""The detectors: patterns, each with a check.

Invariant: every pattern takes linear time, so no message can make a detector slow.
"""

from __future__ import annotations

import math
import re
from collections import Counter

_SECRET_SHAPES = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
    "an API key": re.compile(
        r"\b(?:sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}"
        r"|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}|glpat-[A-Za-z0-9_-]{20,})"
    ),
    "a token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
}
_ASSIGNED = re.compile(
    r"\b(?:password|passwd|passphrase|pwd|secret|token|api[_ -]?key)\b\s{0,5}(?:is|=|:)\s{0,5}"
    r"[\"']?(\S{6,200})",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}\b")
_PHONE = re.compile(r"(?<![\w.])(?!\d\.\d)(?:\+|00)?\(?\d[\d ()./-]{6,22}\d(?![\w])")
_CARD = re.compile(r"(?<!\d)(?=((?:\d[ -]?){12,18}\d)(?!\d))")
_DATE = re.compile(r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}$|^\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}$")
_MIN_ENTROPY_BITS = 2.5


class SecretDetector:
    """Detects keys, tokens and passwords by well-known formats or by the word before them."""

    name = "secrets"
    summary = "API keys, tokens, private keys, passwords"

    def find(self, text: str) -> str | None:
        """Return the kind of secret in `text`, or None."""
        for kind, shape in _SECRET_SHAPES.items():
            if shape.search(text):
                return kind
        if any(map(_looks_random, _ASSIGNED.findall(text))):
            return "a password or key"
        return None


class EmailDetector:
    """Detects e-mail addresses of the usual form, with the lengths of RFC 5321."""

    name = "email"
    summary = "e-mail addresses"

    def find(self, text: str) -> str | None:
        """Return "an e-mail address" if `text` contains one, otherwise None."""
        return "an e-mail address" if _EMAIL.search(text) else None


class PhoneNumberDetector:
    """Detects eight to fifteen digits (E.164) that are grouped like a number and not a date."""

    name = "phone"
    summary = "phone numbers"

    def find(self, text: str) -> str | None:
        """Return "a phone number" if `text` contains one, otherwise None."""
        candidates = (match.group().strip() for match in _PHONE.finditer(text))
        return "a phone number" if any(map(_is_phone, candidates)) else None


class CardNumberDetector:
    """Detects thirteen to nineteen digits with a valid check digit (ISO/IEC 7812, Luhn)."""

    name = "card"
    summary = "payment card numbers"

    def find(self, text: str) -> str | None:
        """Return "a card number" if `text` contains one, otherwise None."""
        candidates = (_digits(run) for run in _CARD.findall(text))
        return "a card number" if any(map(_has_luhn_digit, candidates)) else None


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _is_phone(text: str) -> bool:
    digits = _digits(text)
    is_grouped = text.startswith(("+", "00", "(")) or any(
        separator in text for separator in " -/.("
    )
    return 8 <= len(digits) <= 15 and is_grouped and not _DATE.match(text)


def _has_luhn_digit(digits: str) -> bool:
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(digits[::-1])]
    return len(set(digits)) > 1 and sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _looks_random(word: str) -> bool:
    """Return whether a word mixes kinds of characters and has enough entropy for a secret."""
    kinds = [any(map(kind, word)) for kind in (str.isalpha, str.isdigit)]
    kinds.append(bool(re.search(r"[^\w.,;]", word)))
    counts = Counter(word)
    entropy = -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values())
    return sum(kinds) >= 2 and entropy >= _MIN_ENTROPY_BITS
