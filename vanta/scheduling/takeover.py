"""Takeover: how another leg continues from text that the user has already seen.

An engine that can continue a prefix gets the shown text as its prefix. Any other engine is asked
to continue, beginning with the last words shown (the anchor), so that the seam can be found;
`Seam` then cuts the overlap.

Invariant: shown text + what `Seam` returns contains no character of the overlap twice, and nothing
of the continuation is dropped unless it overlaps.
"""

from __future__ import annotations

import re

ANCHOR_WORDS = 6
MIN_OVERLAP = 6
"""Characters. A shorter agreement of end and beginning counts as chance, not as an overlap."""


def anchor(shown: str) -> str:
    """Return the last words of the shown text, which a continuation must begin with.

    :param shown: the text that the user has seen.
    :returns: its last words, verbatim; "" for a text without words.
    """
    words = list(re.finditer(r"\S+", shown))
    return shown[words[-min(ANCHOR_WORDS, len(words))].start() :] if words else ""


class Seam:
    """Cuts the overlap off the beginning of a streamed continuation.

    The overlap is the longest beginning of the continuation that is also an end of the shown text:
    a repeated anchor, a repeated sentence, or the whole text again.

    :param shown: the text that the user has seen.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._held = ""
        self._open = True

    def feed(self, text: str) -> str:
        """Take more of the continuation and return what can be shown of it now."""
        if not self._open:
            return text
        self._held += text
        if self._may_overlap():
            return ""
        return self.flush()

    def flush(self) -> str:
        """Return what was held back, less the overlap: the continuation has ended or diverged."""
        if not self._open:
            return ""
        self._open = False
        held, self._held = self._held, ""
        bare = held.lstrip()
        overlap = self._overlap(bare)
        return bare[overlap:] if overlap else held

    def _may_overlap(self) -> bool:
        """Return whether the shown text contains all that is held, so that more may overlap."""
        bare = self._held.lstrip()
        return not bare or bare in self._shown

    def _overlap(self, bare: str) -> int:
        least = min(MIN_OVERLAP, len(self._shown))
        for size in range(min(len(bare), len(self._shown)), least - 1, -1):
            if self._shown.endswith(bare[:size]):
                return size
        return 0
