"""Agreement of two answers in any language, without a model.

Two answers disagree materially if one denies what the other says, if each has a number or a name
that the other lacks, or if they share too few of their content words (overlap coefficient of
Szymkiewicz and Simpson, which does not penalise a longer answer). `refine` amends an answer on such
a difference only.

A name is a word with a capital, or of a calendar. Scripts without capitals do not show which word
is a name: there, any content that both of two short answers have alone counts. So a synonym may
pass for a difference, but two cities never for agreement.

Invariant: free, deterministic and symmetric in whether two answers disagree.
"""

from __future__ import annotations

import re

from vanta.language import (
    NUMERALS,
    calendar_words,
    comparable,
    contradicts,
    day_halves,
    fold,
    is_unspaced,
    language_of,
    numbers_in,
    terms,
    tokens,
    without_function_words,
)

MIN_OVERLAP = 0.5
"""Share of the shorter answer's content words that the other answer must have."""

LONGEST = 10_000
"""Characters of an answer that are compared; the rest of a longer one is ignored."""

SHORT_TERMS, SHORT_CHARS = 40, 1000
"""Content words (in scripts without spaces: characters) and all characters of a short answer. Each
of two longer ones has names and numbers of its own without a contradiction."""

FEW = 3
"""Words, or runs of characters, that two short answers in a script without capitals may have alone
to differ in a name. Two that differ in more are compared by their overlap."""

_NUMERALS = frozenset(NUMERALS)

SAME_FORM = 4
"""First letters by which two words count as forms of one."""

_YES = re.compile(
    r"\W*(?:(?:yes|yeah|ja|jo|oui|sí|sim|evet|tak|да|так|نعم|أجل|כן|हाँ|हां|जी हाँ|네|예)\b"
    r"|(?:はい|ええ|是的?|对的?|對的?|没错)(?=[\s,.!?，。！？、]|$)|ใช่)",
    re.IGNORECASE,
)
_NO = re.compile(
    r"\W*(?:(?:no|nope|nein|non|não|nee|nej|hayır|nie|нет|ні|لا|כלל לא|לא|नहीं|아니요|아니오|아니)\b"
    r"|(?:いいえ|いや|不|没有|沒有|否)(?=[\s,.!?，。！？、是会會能行对對]|$)|ไม่)",
    re.IGNORECASE,
)
_SENTENCE_WORD = re.compile(r"[^\W\d_]\w*")
_CASED = re.compile("[A-Za-z\u00c0-\u024f\u0370-\u052f]")


def disagreement(first: str, second: str) -> str | None:
    """Return why `second` disagrees materially with `first`, None if it does not."""
    is_short = max(len(first), len(second)) <= SHORT_CHARS
    first, second = first[:LONGEST], second[:LONGEST]
    yes, no = _polarity(first), _polarity(second)
    if yes and no and yes != no:
        return f"it says {no}, not {yes}"
    words, others = _content(first), _content(second)
    is_short = is_short and max(len(words), len(others)) <= SHORT_TERMS
    numbers, other_numbers = (numbers_in(text) | day_halves(text) for text in (first, second))
    if _differ(numbers, other_numbers, strictly=is_short):
        return _says(other_numbers - numbers, numbers - other_numbers)
    if is_short and (why := _short_difference(first, second)):
        return why
    overlap = _overlap(words, others)
    if overlap < MIN_OVERLAP and not (_is_bare(words, others) and numbers & other_numbers):
        if not words and not others and comparable(first) == comparable(second):
            return None
        return f"it shares {overlap:.0%} of the content words"
    return None


def _short_difference(first: str, second: str) -> str | None:
    """Return why two short answers differ in a negation or a name, None if they do not."""
    if contradicts(first, second):
        return "one denies what the other says"
    alone, other_alone = _names_alone(first, second), _names_alone(second, first)
    return _says(other_alone, alone) if alone and other_alone else None


def _polarity(text: str) -> str | None:
    if _NO.match(text):
        return "no"
    return "yes" if _YES.match(text) else None


def _differ(first: frozenset[str], second: frozenset[str], *, strictly: bool) -> bool:
    """Return whether two sets of numbers contradict each other. strictly: each has one that the
    other lacks; otherwise they have none in common."""
    if strictly:
        return bool(first - second and second - first)
    return bool(first and second and not first & second)


def _says(second: frozenset[str], first: frozenset[str]) -> str:
    return f"it says {', '.join(sorted(second)[:3])}, not {', '.join(sorted(first)[:3])}"


def _content(text: str) -> frozenset[str]:
    """Return the content words of a text: of Han the characters, of other scripts the terms."""
    words = list(dict.fromkeys(terms(text)))
    inflects = language_of(words) != "en"
    content = set()
    for word in without_function_words(words):
        if word.isdigit() or word in NUMERALS or (word.isascii() and len(word) < 3):
            continue
        if _is_han_pair(word):
            continue
        content.add(word[: SAME_FORM + 1] if inflects and word.isascii() else word)
    return frozenset(content)


def _is_han_pair(word: str) -> bool:
    return len(word) == 2 and all("\u3400" <= letter <= "\u9fff" for letter in word)


def _overlap(words: frozenset[str], others: frozenset[str]) -> float:
    if not words or not others:
        return 0.0
    return len(words & others) / min(len(words), len(others))


def _is_bare(words: frozenset[str], others: frozenset[str]) -> bool:
    """Return whether one of two answers is a number without words."""
    return not words or not others


def _names_alone(text: str, other: str) -> frozenset[str]:
    """Return the names in `text` that `other` lacks in every form."""
    if not _CASED.search(text) and not _CASED.search(other):
        alone = _runs_alone(text, other)
        return alone if len(alone) <= FEW else frozenset()
    known = fold(other)
    forms = {word[:SAME_FORM] for word in terms(other)}
    return frozenset(
        name
        for name in _names(text)
        if fold(name) not in known and fold(name)[:SAME_FORM] not in forms
    ) | (_runs_alone(text, other) if is_unspaced(text) and is_unspaced(other) else frozenset())


def _names(text: str) -> list[str]:
    """Return the words with a capital, and those of a calendar, that carry content."""
    words = [word for word in _SENTENCE_WORD.findall(text) if _CASED.match(word)]
    content = set(without_function_words(terms(" ".join(words))))
    return [
        word
        for word in words
        if fold(word) in calendar_words() or (word[0].isupper() and content.issuperset(terms(word)))
    ]


def _runs_alone(text: str, other: str) -> frozenset[str]:
    """Return the words, and the runs of characters of scripts without spaces, that carry content
    and that `other` lacks."""
    words = set(without_function_words(terms(text)))
    known = set(terms(other)) | set(fold(other))
    runs: list[str] = []
    for token in tokens(text):
        if token.script in {"han", "katakana"}:
            unknown = "".join(" " if letter in known else letter for letter in token.text)
            is_han = token.script == "han"
            runs += [run for run in unknown.split() if not is_han or words & set(run) - _NUMERALS]
        elif token.script not in {"hiragana", "southeast"} and not token.text.isdigit():
            if words & set(terms(token.text)) - known:
                runs.append(token.text)
        elif token.script == "southeast":
            runs += _southeast_alone(token.text, other)
    return frozenset(runs)


def _southeast_alone(text: str, other: str) -> list[str]:
    """Return the part of a run of Thai or a related script that is not in the other text."""
    known = fold(other)
    begin = 0
    while begin < len(text) and text[: begin + 1] in known:
        begin += 1
    end = len(text)
    while end > begin and text[end - 1 :] in known:
        end -= 1
    return [text[begin:end]] if end - begin >= SAME_FORM else []
