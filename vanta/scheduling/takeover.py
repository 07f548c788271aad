"""Takeover: how another leg continues from text that the user has already seen.

An engine that can continue a prefix gets the shown text as its prefix. Any other engine is asked
to continue, beginning with the last words shown (the anchor), so that the seam can be found;
`Seam` then cuts the overlap.

Both texts are compared as folded clusters (`vanta.language`), since models repeat a text in another
case, width or composition ("ß" as "ss"), and cut where a cluster of the continuation ends.
Digits repeat by chance ("10, 1" and "1, 12"), so a number alone does not count as an overlap.
Limit: a model that repeats the last number without the rest of the anchor shows it twice.

Invariant: shown text + what `Seam` returns contains no character of the overlap twice, and nothing
of the continuation is dropped unless it overlaps.
"""

from __future__ import annotations

import re
import unicodedata

from vanta.language import clusters, fold, is_unspaced

ANCHOR_WORDS = 6
"""Words of the anchor; two characters of a script without spaces count as a word."""

ANCHOR_CHARS = 160
"""Length from which the anchor begins inside a word, such as a long address."""

LONGEST = 50_000
"""Characters at the end of the shown text that are compared."""

MIN_OVERLAP = 6
"""Letters. A shorter agreement of end and beginning counts as chance, not as an overlap, unless it
begins with a word and no space is at the seam: then a word would be doubled."""

UNSPACED_LETTERS, HANGUL_LETTERS = 3, 2
"""Letters that a character of a script without spaces, or a syllable of Hangul, counts for."""

_CLUSTER_CHARS = 112
"""Characters of the longest cluster."""

_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"\S+")
_HANGUL = re.compile("[\uac00-\ud7a3]")


def anchor(shown: str) -> str:
    """Return the last words of the shown text, which a continuation must begin with.

    :param shown: the text that the user has seen.
    :returns: its last words, verbatim; "" for a text without words.
    """
    begin, words = len(shown), 0.0
    for match in reversed(list(_WORD.finditer(shown, max(0, len(shown) - 4 * ANCHOR_CHARS)))):
        for size, weight in _units(match[0]):
            begin = match.start() + size
            words += weight
            if words >= ANCHOR_WORDS or len(shown) - begin >= ANCHOR_CHARS:
                return shown[begin:]
    return shown[begin:]


def _units(word: str) -> list[tuple[int, float]]:
    """Return places at which an anchor may begin in a word, last first, and the words from each to
    the next."""
    if not is_unspaced(word) and len(word) < ANCHOR_CHARS:
        return [(0, 1.0)]
    places, place = [], 0
    for cluster in clusters(word):
        places.append((place, 0.5 if is_unspaced(cluster) else 0.25))
        place += len(cluster)
    return places[::-1]


class Seam:
    """Cuts the overlap off the beginning of a streamed continuation.

    The overlap is the anchor, if the continuation begins with it. Otherwise it is the longest
    beginning of the continuation that is also an end of the shown text: the last word, a repeated
    sentence, or the whole text again.

    :param shown: the text that the user has seen.
    """

    def __init__(self, shown: str) -> None:
        shown = shown[-LONGEST:]
        self._blanks = shown[len(shown.rstrip()) :]
        *_, last = "", *clusters(shown[-_CLUSTER_CHARS:])
        self._shown = _Shown(shown)
        # The text may be cut inside a cluster, such as a consonant before its vowel sign.
        self._whole_clusters = _Shown(shown[: len(shown) - len(last)])
        self._last = last
        self._held = _Folded()
        self._found_at = self._known = 0
        self._open = True

    def feed(self, text: str) -> str:
        """Take more of the continuation and return what can be shown of it now."""
        if not self._open:
            return text
        self._held.append(text)
        if self._may_overlap():
            return ""
        return self.flush()

    def flush(self) -> str:
        """Return what was held back, less the overlap: the continuation has ended or diverged."""
        if not self._open:
            return ""
        self._open = False
        repeated, text = self._held.text[: self._overlap()], self._held.text
        blanks = repeated[len(repeated.rstrip()) :]
        # A longer run of white space compares as equal, but may indent code or end a paragraph.
        more = len(blanks) - len(self._blanks) if blanks.startswith(self._blanks) else 0
        return text[len(repeated) - more :]

    def _may_overlap(self) -> bool:
        """Return whether the shown text contains all that is held, so that more may overlap.

        The last cluster does not count: a mark may follow that changes it.
        """
        held = self._held.settled.lstrip()
        # Longer text cannot be found before the place where its beginning is found first.
        known, self._known = self._known, len(held)
        if not self._shown.folded.startswith(held[known:], self._found_at + known):
            self._found_at = self._shown.folded.find(held, self._found_at)
        return self._found_at >= 0

    def _overlap(self) -> int:
        """Return the characters of the held text that were shown already."""
        end = self._whole_clusters.overlap(self._held)
        if end is not None and self._last.strip():
            cluster = next(clusters(self._held.text[end : end + _CLUSTER_CHARS]), "")
            if cluster != self._last and cluster.startswith(self._last):
                return end + len(self._last)
        return self._shown.overlap(self._held) or 0


class _Shown:
    """A text that was shown, and its anchor, for comparison."""

    def __init__(self, shown: str) -> None:
        self.folded = _BLANKS.sub(" ", fold(shown))
        self._anchor = _BLANKS.sub(" ", fold(anchor(shown)))

    def overlap(self, held: _Folded) -> int | None:
        """Return how many characters of the beginning of `held` end this text, None if none do."""
        if not self.folded.strip():
            return 0
        blank = len(held.folded) - len(held.folded.lstrip())
        bare = held.folded[blank:]
        words = self._anchor.rstrip()
        is_anchor = bool(words) and bare.startswith(words)
        if is_anchor:
            sizes = [len(self._anchor), len(words)]
            sizes = [size for size in sizes if self.folded.endswith(bare[:size])] or sizes[1:]
        else:
            sizes = _common_ends(bare, self.folded)
        for size in sizes:
            end = held.raw_end(blank + size)
            if end is None or (not is_anchor and self._is_chance(bare[:size])):
                continue
            if self._counts(bare[:size], bare[size:], glued=not blank):
                return end
        return None

    def _is_chance(self, repeated: str) -> bool:
        """Return whether a repeated text is a number, or several, and not all that was shown."""
        if len(repeated) >= len(self.folded.strip()):
            return False
        return any(map(str.isdigit, repeated)) and not any(map(str.isalpha, repeated))

    def _counts(self, repeated: str, following: str, *, glued: bool) -> bool:
        """Return whether a repeated text is an overlap and not chance."""
        shown = self.folded.strip()
        least = min(MIN_OVERLAP, sum(map(_letters, shown[:MIN_OVERLAP])))
        if len(repeated) >= len(shown) or sum(map(_letters, repeated)) >= least:
            return True
        begins_word = _in_word(repeated[0]) and not _in_word(shown[-len(repeated) - 1])
        if not (glued and begins_word and _in_word(repeated[-1])) or is_unspaced(repeated):
            return False
        is_whole_word = not _in_word(following[:1] or " ")
        return len(repeated) > 1 or (is_whole_word and repeated.isascii())


class _Folded:
    """A growing text with its folded form, and the places of its clusters in both.

    text: what was appended. folded: its folded clusters, each run of white space as one space.
    settled: the same without the last cluster.
    """

    def __init__(self) -> None:
        self.text = ""
        self.folded = ""
        self.settled = ""
        self._ends: dict[int, int] = {}
        self._settled_at = 0

    def append(self, text: str) -> None:
        """Add text at the end."""
        self.text += text
        pieces, size = [self.settled], len(self.settled)
        is_blank = self.settled.endswith(" ")
        pending = list(clusters(self.text[self._settled_at :]))
        for cluster in pending:
            folded = _BLANKS.sub(" ", fold(cluster))
            if folded.isspace():
                folded, is_blank = "" if is_blank else " ", True
            elif folded:
                is_blank = folded.endswith(" ")
            size += len(folded)
            pieces.append(folded)
            self._ends[size] = self._settled_at = self._settled_at + len(cluster)
        self.folded = "".join(pieces)
        self.settled = "".join(pieces[:-1]) if pending else self.settled
        self._settled_at -= len(pending[-1]) if pending else 0

    def raw_end(self, size: int) -> int | None:
        """Return the length of the text whose folded form has `size` characters; None if these end
        inside a cluster."""
        return self._ends.get(size)


def _in_word(letter: str) -> bool:
    return letter.isalnum() or unicodedata.category(letter)[0] == "M"


def _letters(letter: str) -> int:
    if is_unspaced(letter):
        return UNSPACED_LETTERS
    return HANGUL_LETTERS if _HANGUL.match(letter) else 1


def _common_ends(beginning: str, text: str) -> list[int]:
    """Return the sizes, longest first, of the beginnings that are also an end of `text`, by the
    prefix function of Knuth, Morris and Pratt."""
    most = min(len(beginning), len(text))
    joined = [*beginning[:most], None, *text[len(text) - most :]]
    borders = [0] * len(joined)
    for place in range(1, len(joined)):
        size = borders[place - 1]
        while size and joined[place] != joined[size]:
            size = borders[size - 1]
        borders[place] = size + (joined[place] == joined[size])
    sizes = []
    size = borders[-1]
    while size:
        sizes.append(size)
        size = borders[size - 1]
    return sizes
