"""Light stems for scripts whose words carry endings and particles: pure and without dictionaries.

Each strips the common endings only, so that the forms of a noun or a verb meet; two words may share
a stem. Sources: Larkey, Ballesteros and Connell 2007 (light10, Arabic); Dolamic and Savoy 2009
(Russian); Ramanathan and Rao 2003 (Hindi). Invariant: a stem has at least two letters, except a
Korean noun of one syllable, and texts are folded already.
"""

from __future__ import annotations

import functools
import re

_ARABIC_PREFIX = re.compile(r"(?:و?(?:ال|بال|كال|فال|لل)|و(?=...))(?=..)")
_ARABIC_SUFFIX = re.compile(r"(?:(?<=...)(?:ها|ان|ات|ون|ين|يه)|(?<=..)[هي])$")
_CYRILLIC_ENDING = re.compile(
    r"(?<=...)(?:иями|ями|ами|ого|его|ому|ему|ыми|ими|иях|ах|ях|ов|ев|еи|ои|ыи|ии|ая|яя|ое|ее|ые|ие"
    r"|ую|юю|ом|ем|ам|ям|ешь|ишь|ет|ют|ут|ит|ат|ят|ала|ило|или|ала|ало|али|ил|ал|ить|ать|еть|ла"
    r"|ло|ли|ия|ию|а|я|о|е|ы|и|у|ю|ь|л)$"
)
_DEVANAGARI_ENDING = re.compile(
    "(?<=..)(?:ियों|ियाँ|ियां|ाओं|ाएं|ाएँ|ुओं|ों|ें|ीं|ां|ाँ|ता|ते|ती|ना|ने|नी|[ािीुूेैोौ्])$"
)
_HEBREW_PREFIX = re.compile(r"(?:ו?[הבכלמש]|ו|שה|בה|כש)(?=...)")
_HEBREW_SUFFIX = re.compile(r"(?<=...)(?:ימ|ות)$")
_KOREAN_ENDING = re.compile(
    r"(?<=.)(?:에서는|에서도|에게서|으로는|이라는|이라고|라는|라고|습니다|입니다|합니다|했습니다|해요|했어요|"
    r"이에요|예요|어요|아요|세요|나요|인가요|이야|에서|에게|한테|께서|으로|부터|까지|처럼|보다|하고|이랑|"
    r"이나|마다|밖에|조차|은|는|이|가|을|를|의|에|도|로|와|과|랑|만|야|요)$"
)


@functools.lru_cache(maxsize=16384)
def stems(word: str) -> tuple[str, ...]:
    """Return the terms of a word of a script with light stems; () for any other word.

    :param word: a folded word.
    """
    if word.isascii():
        return ()
    first = word[0]
    if "\u0400" <= first <= "\u052f":
        return (_CYRILLIC_ENDING.sub("", word),)
    if "\u0600" <= first <= "\u06ff":
        return (_ARABIC_SUFFIX.sub("", _ARABIC_PREFIX.sub("", word, count=1)),)
    if "\u0900" <= first <= "\u097f":
        return (_DEVANAGARI_ENDING.sub("", word),)
    if "\u05d0" <= first <= "\u05ea":
        bare = _HEBREW_SUFFIX.sub("", word)
        return tuple(dict.fromkeys((bare, _without_prefix(bare))))
    return ()


@functools.lru_cache(maxsize=16384)
def korean_stem(word: str) -> str:
    """Return a Korean word without its particles and polite endings.

    :param word: a folded word.
    """
    for _ in range(2):  # "에서" + "는"
        word = _KOREAN_ENDING.sub("", word)
    return word


def _without_prefix(word: str) -> str:
    match = _HEBREW_PREFIX.match(word)
    return word[match.end() :] if match else word
