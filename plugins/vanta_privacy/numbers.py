"""Detectors of payment card and phone numbers.

A card number differs from other numbers by its network's prefix and length, its grouping and its
check digit (ISO/IEC 7812, Luhn). A phone number is found if it is written like one: with a country
code (ITU-T E.164), with a trunk zero and groups, in the usual groups of North America, Russia,
Brazil, China and India, or after a word such as "call me". Invariant: both take linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from vanta_privacy.normalisation import normalise

_CARD_RUN = re.compile(
    r"(?<![A-Za-z0-9+/])\d{2,19}(?:[ \t.\-_/]{1,3}\d{2,19}){0,11}(?![A-Za-z0-9])"
)
_CARD_NETWORKS = (
    (re.compile(r"4"), {13, 16, 19}),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),  # Mastercard
    (re.compile(r"3[47]"), {15}),  # American Express
    (re.compile(r"6011|64[4-9]|65"), {16, 19}),  # Discover
    (re.compile(r"3(?:0[0-5]|095|[689])"), {14, 16, 19}),  # Diners Club
    (re.compile(r"35(?:2[89]|[3-8])"), {16, 19}),  # JCB
    (re.compile(r"62|81"), {16, 17, 18, 19}),  # UnionPay, RuPay
    (re.compile(r"50[1-9]|5[6-9]|6[0379]"), {16, 18, 19}),  # Maestro, RuPay, Elo, Verve
    (re.compile(r"220[0-4]|9792|4571"), {16}),  # Mir, Troy, Dankort
)
_CARD_GROUPS = (
    *([[size] for size in range(13, 20)]),
    [4, 4, 4, 4], [4, 4, 4, 4, 3], [4, 6, 5], [4, 6, 4], [4, 6, 2, 4], [8, 8], [4, 4, 8],
    [8, 4, 4], [6, 10], [6, 13], [2] * 8,
)  # fmt: skip

_GROUPS_BY_FIRST = {
    first: [groups for groups in _CARD_GROUPS if groups[0] == first] for first in range(2, 20)
}
"""The size of the first group of digits -> the ways to group a card number that begin with it."""

_COUNTRY_CODE = re.compile(
    r"1|7|2(?:[07]|[1-689]\d)|3(?:[0-469]|[578]\d)|4(?:[013-9]|2\d)|5(?:[1-8]|[09]\d)"
    r"|6(?:[0-6]|[7-9]\d)|8(?:[1246]|[0578]\d)|9(?:[0-58]|[679]\d)"
)
_BEFORE = r"(?<![A-Za-z0-9_./+-])(?<!\d[,: ])(?<!\d  )"
_AFTER = r"(?![A-Za-z0-9_])(?![ .,:/-]{1,2}\d)"
_WITH_PLUS = re.compile(r"(?<![A-Za-z0-9])\+\)?\(?\d(?:[ ().\-/]{0,3}\d){6,20}")
_WITH_ZEROS = re.compile(_BEFORE + r"00[1-9](?:[ ().\-/]{0,3}\d){7,16}" + _AFTER)
_WITH_TRUNK_ZERO = re.compile(
    _BEFORE + r"(?:\(0[1-9]\d{0,4}\)|0[1-9]\d{0,4})(?:[ ./-]{1,3}\d{2,8}){1,4}" + _AFTER
    + r"|" + _BEFORE + r"\(0[1-9]\d{0,4}\)\d{4,8}" + _AFTER
)  # fmt: skip
_IN_NATIONAL_GROUPS = re.compile(
    _BEFORE
    + r"(?:"
    + "|".join([
        r"(?:1[ .-]{1,3})?\([2-9]\d\d\)[ .-]{0,3}[2-9]\d\d[ .-]{1,3}\d{4}",
        r"(?:1[ .-]{1,3})?[2-9]\d\d(?: ?- ?|\.)[2-9]\d\d(?: ?- ?|\.)\d{4}",
        r"8[ -]{1,2}\(?9\d\d\)?[ -]{1,2}\d{3}[ -]{0,2}\d\d[ -]{0,2}\d\d",
        r"\(\d\d\) {0,2}\d{4,5}[ -]{1,2}\d{4}",
        r"1[3-9]\d[ -]{1,2}\d{4}[ -]{1,2}\d{4}",
        r"[6-9]\d{4}[ -](?!00000)\d{3}(?!00)\d\d",
    ])
    + r")"
    + _AFTER
)  # fmt: skip
_PHONE_WORDS = (
    "tel|telephone|phone|telefon|telefono|teléfono|telefone|téléphone|tlf|telefoon|puhelin|mobile"
    "|mob|ph|mobil|móvil|celular|cell|cellulare|handy|portable|fax|whatsapp|sms|ring|dial"
    "|handynummer|telefonnummer|rufnummer"
)
_PHONE_PHRASES = r"call (?:me|us|him|her|them)|text me|my number|ll[aá]ma|appel(?:le|ez)|ruf"
_OTHER_PHONE_WORDS = "телефон|тел|звони|手机|手機|电话|電話|携帯|휴대폰|전화|هاتف|फ़ोन|โทร"
_AFTER_WORD = re.compile(
    rf"(?P<word>{_PHONE_WORDS}|{_PHONE_PHRASES}|{_OTHER_PHONE_WORDS})(?![a-rt-z])"
    r"(?P<gap>[^\d\n]{0,20}?)(?P<number>\+?\(?\d(?:[ ().\-/]{0,3}\d){6,14})(?![A-Za-z0-9_])"
)
"""Matches text in lower case."""

_VERSION = re.compile(r"version|build|firmware|release|model")
_DECIMAL = re.compile(r"\+\d+\.\d+")
_POSTAL_CODE = re.compile(r"\d{5}-\d{4}")  # ZIP+4 of the United States
_DIGITS_REGION = re.compile(r"[+(\d][+(\d) .\-/]{6,}")
_DATE = re.compile(
    r"(?:19|20)\d\d[-/. ]{1,2}[01]?\d[-/. ]{1,2}[0-3]?\d(?!\d)"
    r"|[0-3]?\d[-/. ]{1,2}[0-3]?\d[-/. ]{1,2}(?:19|20)\d\d(?!\d)"
)


class CardNumberDetector:
    """Detects thirteen to nineteen digits with the marks of a payment card."""

    name = "card"
    summary = "payment card numbers"

    def find(self, text: str) -> str | None:
        """Return "a card number" if `text` contains one, otherwise None.

        :param text: the user's message.
        """
        text = normalise(text)
        for run in _CARD_RUN.finditer(text):
            cards = filter(_is_card, _card_candidates(re.findall(r"\d+", run[0])))
            # With a country code, a phone number often has the thirteen digits of an old Visa card.
            if any(len(card) > 13 or not _follows_phone_word(text, run) for card in cards):
                return "a card number"
        return None


class PhoneNumberDetector:
    """Detects seven to fifteen digits that are written like a phone number."""

    name = "phone"
    summary = "phone numbers"

    def find(self, text: str) -> str | None:
        """Return "a phone number" if `text` contains one, otherwise None.

        :param text: the user's message.
        """
        text = normalise(text)
        return "a phone number" if any(_phone_numbers(text)) else None


def _card_candidates(groups: list[str]) -> Iterator[str]:
    """Yield consecutive groups that are grouped like a card, and are not part of a longer table."""
    sizes = [len(group) for group in groups]
    for start in range(len(groups)):
        for wanted in _GROUPS_BY_FIRST.get(sizes[start], ()):
            end = start + len(wanted)
            if sizes[start:end] != wanted:
                continue
            is_part = len(wanted) > 1 and end < len(sizes) and sizes[end] == wanted[-1]
            if not is_part:
                yield "".join(groups[start:end])


def _follows_phone_word(text: str, run: re.Match[str]) -> bool:
    before = text[max(0, run.start() - 40) : run.end()].lower()
    return any(match.end() == len(before) for match in _AFTER_WORD.finditer(before))


def _is_card(digits: str) -> bool:
    of_network = any(
        prefix.match(digits) and len(digits) in lengths for prefix, lengths in _CARD_NETWORKS
    )
    return of_network and _has_luhn_digit(digits)


def _has_luhn_digit(digits: str) -> bool:
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(digits[::-1])]
    return len(set(digits)) > 1 and sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _phone_numbers(text: str) -> Iterator[str]:
    for region in _DIGITS_REGION.finditer(text):
        yield from _matches(_WITH_PLUS, text, region, _is_international)
        yield from _matches(_WITH_ZEROS, text, region, _is_international)
        yield from _matches(_WITH_TRUNK_ZERO, text, region, _is_national)
        yield from _matches(_IN_NATIONAL_GROUPS, text, region, bool)
    lower = text.lower()
    for match in _AFTER_WORD.finditer(lower):
        is_word = not (
            match["word"].isascii() and lower[match.start() - 1 : match.start()].isalpha()
        )
        is_other = _DATE.search(match["number"]) or _VERSION.search(match["gap"])
        if is_word and not is_other:
            yield match["number"]


def _matches(
    pattern: re.Pattern[str], text: str, region: re.Match[str], check: Callable[[str], bool]
) -> Iterator[str]:
    # Patterns look at the characters around a number, so the region is widened behind.
    matches = pattern.finditer(text, region.start(), region.end() + 3)
    return (match[0] for match in matches if check(match[0]))


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _is_international(number: str) -> bool:
    if _DECIMAL.fullmatch(number):
        return False
    has_plus = "+" in number
    digits = _digits(number)
    digits = digits if has_plus else digits.removeprefix("00")
    if not _COUNTRY_CODE.match(digits) or (digits[0] == "1" and len(digits) < 11):
        return False
    is_grouped = len(re.findall(r"\d+", number)) > 1
    return (8 if has_plus else 10) <= len(digits) <= (21 if is_grouped else 15)


def _is_national(number: str) -> bool:
    if _POSTAL_CODE.fullmatch(number):
        return False
    groups = re.findall(r"\d+", number)
    values = [int(group) for group in groups]
    is_counting = all(b - a == 1 for a, b in pairwise(values))
    return 9 <= sum(map(len, groups)) <= 12 and not is_counting and not _DATE.match(number)
