"""Takeover: how another leg goes on from text that the user has already seen.

An engine that can continue a prefix is given the shown text as one. Any other is asked for the
continuation and told to begin with the last words shown (the anchor), so that the seam can be
found; `Seam` then cuts what overlaps. Invariant: shown text + what `Seam` lets through has no
character of the overlap twice, and nothing of the continuation is dropped without an overlap.
"""

from __future__ import annotations

import re

ANCHOR_WORDS = 6
MIN_OVERLAP = 6
"""Characters: a shorter agreement of end and beginning is taken for chance, not for an overlap."""


def anchor(shown: str) -> str:
    """The last words of the shown text, to the letter: what a continuation shall begin with."""
    words = list(re.finditer(r"\S+", shown))
    return shown[words[-min(ANCHOR_WORDS, len(words))].start() :] if words else ""


class Seam:
    """Cuts the overlap off the beginning of a streamed continuation.

    The overlap is the longest beginning of the continuation that is also an end of the shown text
    (a repeated anchor, a repeated sentence, or the whole text told again).
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._held = ""
        self._open = True

    def feed(self, text: str) -> str:
        """Take more of the continuation; returns what can be shown of it now."""
        if not self._open:
            return text
        self._held += text
        if self._could_grow():
            return ""
        return self.flush()

    def flush(self) -> str:
        """The continuation has ended or diverged: returns what was held back, less the overlap."""
        if not self._open:
            return ""
        self._open = False
        held, self._held = self._held, ""
        bare = held.lstrip()
        overlap = self._overlap(bare)
        return bare[overlap:] if overlap else held

    def _could_grow(self) -> bool:
        """Whether all that is held stands inside the shown text, so that more may still agree."""
        bare = self._held.lstrip()
        return not bare or bare in self._shown

    def _overlap(self, bare: str) -> int:
        least = min(MIN_OVERLAP, len(self._shown))
        for size in range(min(len(bare), len(self._shown)), least - 1, -1):
            if self._shown.endswith(bare[:size]):
                return size
        return 0
