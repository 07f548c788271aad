"""One colour a track, the same wherever it is shown.

Invariant: the colours keep apart for colour-blind eyes (Okabe and Ito, 2008) and stand out on a
light and on a dark ground.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Colour:
    """terminal: a name that rich knows; page: for SVG."""

    terminal: str
    page: str


_KNOWN = {"local": Colour("green", "#009e73"), "api": Colour("dodger_blue1", "#2b7fd4")}
_OTHERS = (
    Colour("dark_orange", "#d55e00"),
    Colour("orchid", "#cc79a7"),
    Colour("gold3", "#b8860b"),
)


def colour_of(track: str) -> Colour:
    """The colour of a track; by its name alone, so that it is the same in every picture."""
    return _KNOWN.get(track) or _OTHERS[zlib.crc32(track.encode()) % len(_OTHERS)]
