"""Numbers in a text, in one spelling: digits of any script, Chinese numerals, number words.

Invariant: equal numbers are equal texts: "1,000", "1.000", "1 000", "１０００" and "一千" are all
"1000".
"""

from __future__ import annotations

import functools
import re

from vanta.language.folding import fold
from vanta.language.word_lists import NUMBER_WORDS

_NUMBER = re.compile(
    r"(?:(?<!\w)(?<!\d )[-\u2212\u2013](?=\d))?\d+(?:[.,'\u2019\u00a0\u202f\u066b\u066c ]\d+)*"
)
_THOUSANDS = re.compile(
    r"\d{1,3}(?:([.,'\u2019\u00a0\u202f\u066c ])\d{3})(?:\1\d{3})*(?:[.,\u066b]\d+)?"
)
_LIST_MARKER = re.compile(r"^[ \t]{0,8}\d{1,3}[.)、．][ \t\u3000]", re.MULTILINE)
_DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {
    "零": 0,
    "两": 2,
    "兩": 2,
}
_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "萬": 10_000, "亿": 10**8, "億": 10**8}
NUMERALS = "".join((*_DIGITS, *_UNITS))
"""The characters of Chinese numerals."""

_OTHER_MEANINGS = frozenset({"on", "once", "sei"})
"""Number words that are common words of another language."""

_COUNTED = (
    "年月日号號點点时時分秒岁歲个個人名位元円圆块塊美度层層楼樓階间間只隻条條本張张台辆輛次回倍%％"
)
_CHINESE = re.compile(
    rf"[{NUMERALS}]{{2,}}|[{NUMERALS}](?=[{_COUNTED}])|(?<!\w)[{NUMERALS}](?![\w、)])"
    rf"|(?<=[是第为為])[{NUMERALS}](?!\w)|[二三四五六七八九](?=つ)"
)
_MORNING, _EVENING = "上午|午前|오전", "下午|午後|오후|晚上"
_HALF_BEFORE = re.compile(rf"({_MORNING}|{_EVENING}) ?(\d{{1,2}}|[{NUMERALS}]{{1,3}})")
_HALF_AFTER = re.compile(
    r"(?<!\d)(\d{1,2})(?:[:.]\d{2})? ?(a\.? ?m\b|p\.? ?m\b|утра\b|вечера\b|صباح|مساء)"
)
_MORNINGS = ("a", "утра", "صباح", *_MORNING.split("|"))


def numbers_in(text: str) -> frozenset[str]:
    """Return the numbers of a text as plain decimals; numbers of a list's lines do not count.

    :param text: any text.
    """
    folded = fold(_LIST_MARKER.sub(" ", text))
    numbers = {number for match in _NUMBER.findall(folded) for number in _plain(match)}
    numbers |= {_chinese_value(match) for match in _CHINESE.findall(folded)}
    words = _number_words()
    numbers |= {words[word] for word in re.findall(r"[^\W\d_]+", folded) if word in words}
    return frozenset(numbers)


def day_halves(text: str) -> frozenset[str]:
    """Return the hours of a text that have a half of the day, as "9 am" or "9 pm".

    :param text: any text.
    """
    folded = fold(text)
    pairs = [(hour, half) for half, hour in _HALF_BEFORE.findall(folded)]
    pairs += _HALF_AFTER.findall(folded)
    return frozenset(f"{_hour(hour)} {_half(half)}" for hour, half in pairs)


def _hour(number: str) -> str:
    return number.lstrip("0") or "0" if number.isdigit() else _chinese_value(number)


def _half(name: str) -> str:
    return "am" if name.startswith(_MORNINGS) else "pm"


def _plain(number: str) -> list[str]:
    """Return a number without separators of thousands, or the numbers that a space separates.

    A minus sign belongs to the first of them.
    """
    if not number[0].isdigit():
        first, *rest = _plain(number[1:])
        return [first if first == "0" else f"-{first}", *rest]
    match = _THOUSANDS.fullmatch(number)
    if match and not number.startswith("0"):
        whole, decimals = number, ""
        last = re.search(r"[.,\u066b](?=\d+$)", number)
        if last and last[0] != match[1]:
            whole, decimals = number[: last.start()], number[last.end() :]
        return [_decimal(re.sub(r"\D", "", whole), decimals)]
    plain = []
    for piece in re.split(r"['\u2019\u00a0\u202f\u066c ]", number):
        groups = re.split(r"[.,\u066b]", piece)
        is_decimal = len(groups) == 2
        plain += [_decimal(*groups)] if is_decimal else [_decimal(group, "") for group in groups]
    return plain


def _decimal(whole: str, decimals: str) -> str:
    decimals = decimals.rstrip("0")
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{decimals}" if decimals else whole


def _chinese_value(numeral: str) -> str:
    if not any(letter in _UNITS for letter in numeral):  # a year, digit by digit
        return "".join(str(_DIGITS[letter]) for letter in numeral).lstrip("0") or "0"
    total, section, digit = 0, 0, 0
    for letter in numeral:
        if letter in _DIGITS:
            digit = _DIGITS[letter]
            continue
        unit = _UNITS[letter]
        if unit < 10_000:
            section += (digit or 1) * unit
        else:
            total += (section + digit or 1) * unit
            section = 0
        digit = 0
    return str(total + section + digit)


@functools.cache
def _number_words() -> dict[str, str]:
    words: dict[str, str] = {}
    for names in NUMBER_WORDS.values():
        for value, name in enumerate(names.split(), start=2):
            words.setdefault(fold(name), str(value))
    return {word: value for word, value in words.items() if word not in _OTHER_MEANINGS}
