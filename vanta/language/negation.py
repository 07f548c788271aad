"""Negation: whether one of two short texts denies what the other says.

A clause with a negation contradicts the other text if that has no negation, and has every content
word of the clause. So "It is Paris, not Lyon" does not contradict "It is Paris". Scripts without
spaces are compared by their characters.

Invariant: symmetric, and false for two texts that both have a negation.
"""

from __future__ import annotations

import functools
import re

from vanta.language.folding import fold
from vanta.language.function_words import language_of, without_function_words
from vanta.language.segmentation import is_unspaced, terms
from vanta.language.word_lists import NEGATIONS

_SAME_FORM, _SAME_SYLLABLES = 4, 2
"""First letters, and first syllables of Korean, by which two words count as forms of one."""

_CLAUSE = re.compile(r"[,;.!?\n\u060c\u061b\u0964，；。！？、]+|\bbut\b")
_LETTER = r"[^\W\d_\u0900-\u0903\u093a-\u094f]|[\u0900-\u0903\u093a-\u094f]"
_WORD = re.compile(rf"[a-z]+n['\u2019]t\b|(?:{_LETTER})+")
_NO_NEGATION = re.compile(
    r"\bnot only\b|\bnicht nur\b|\bпросто не\b|\bне только\b|\bpas seulement\b|\bno solo\b"
    r"|不仅|不僅|不只|不但|不光|不过|不過|不久|不少|差不多|(.)[不没沒]\1|かもしれ(?:ない|ません)"
    r"|すみません|少ない|しかない|なければ|なくて(?:は|も)|に違いない|に違いありません"
)
_UNSPACED = re.compile(
    r"不|没|沒|無い|ではない|では?ありません|(?:い|り)?ません|ない|なかった|ไม่(?:ใช่)?"
)
_KOREAN = re.compile("않|없|아니|^(?:안|못)$")
_PLAIN_CHARACTERS = re.compile(r"[\u3400-\u9fff\u30a1-\u30fa]")
_THAI = re.compile("[\u0e00-\u0e7f]")


def contradicts(first: str, second: str) -> bool:
    """Return whether one text denies what the other says, without a negation in the other.

    :param first: a short text.
    :param second: a short text.
    """
    first, second = (_NO_NEGATION.sub(" ", fold(text)) for text in (first, second))
    language = language_of({*terms(first), *terms(second)}) or "en"
    words = _negations(language)
    denied, others = _denied(first, words), _denied(second, words)
    if bool(denied) == bool(others):
        return False
    clauses, text = (denied, second) if denied else (others, first)
    return any(_states(text, clause) for clause in clauses)


@functools.cache
def _negations(language: str) -> frozenset[str]:
    return frozenset(fold(f"{NEGATIONS.get(language, '')} {NEGATIONS['other']}").split())


def _denied(text: str, negations: frozenset[str]) -> list[str]:
    """Return the clauses of a folded text that have a negation, without it."""
    denied = []
    for clause in _CLAUSE.split(text):
        rest = _UNSPACED.sub(" ", clause) if is_unspaced(clause) else clause
        rest = _WORD.sub(lambda match: " " if _is_negation(match[0], negations) else match[0], rest)
        if rest != clause:
            denied.append(rest)
    return denied


def _is_negation(word: str, negations: frozenset[str]) -> bool:
    word = word.replace("\u2019", "'")
    return word in negations or word.endswith("n't") or _KOREAN.search(word) is not None


def _states(text: str, clause: str) -> bool:
    """Return whether a text has the content of a clause."""
    if _THAI.search(clause):
        return bool(clause.split()) and all(run in text for run in clause.split())
    if is_unspaced(clause):
        content = _PLAIN_CHARACTERS.findall(clause) or "".join(clause.split())
        return bool(content) and set(content) <= set(text)
    content = _content(clause)
    forms = set(_content(text))
    return bool(content) and forms.issuperset(content)


def _content(text: str) -> list[str]:
    """Return the first letters of the content words."""
    words = without_function_words([match[0] for match in _WORD.finditer(text)])
    return [_form(word) for word in words]


def _form(word: str) -> str:
    is_korean = "\uac00" <= word[0] <= "\ud7a3"
    return word[: _SAME_SYLLABLES if is_korean else _SAME_FORM]
