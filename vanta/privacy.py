"""Privacy: what makes a turn private.

A caller says so (`private=True` on a turn or a session), or a detector that the configuration
names finds something in the message that should not leave the machine. Invariant: a detector can
make a turn private, never public; what it found is named by its kind, never quoted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Detector(Protocol):
    """What a plugin implements. `name` is what `privacy.detect` refers to, `summary` one line."""

    name: str
    summary: str

    def find(self, text: str) -> str | None:
        """The kind of what is in `text` ("an API key"), None if there is nothing. Quick, no I/O."""
        ...


def reason_to_be_private(text: str, detectors: Iterable[Detector]) -> str | None:
    """Why a message has to stay private, None if no detector found anything."""
    for detector in detectors:
        found = detector.find(text)
        if found:
            return f"the message has {found} (detector {detector.name!r})"
    return None
