"""Decides whether a message makes its turn private.

A caller makes a turn private with `private=True`, or a detector that the configuration names finds
something in the message that must not leave the machine. Invariants: a detector can make a turn
private, never public; its findings are named by their kind and never quoted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Detector(Protocol):
    """Finds text that must not leave the machine; plugins provide it with `vanta_detectors`.

    :ivar name: the name under which `privacy.detect` turns it on.
    :ivar summary: one line for a person.
    """

    name: str
    summary: str

    def find(self, text: str) -> str | None:
        """Return the kind of the first finding in `text` ("an API key"), or None.

        Called on the event loop: it must be quick and do no I/O.

        :param text: the user's message.
        """
        ...


def reason_to_be_private(text: str, detectors: Iterable[Detector]) -> str | None:
    """Return why a message has to stay private, or None.

    :param text: the user's message.
    :param detectors: the detectors that are on.
    """
    for detector in detectors:
        kind = detector.find(text)
        if kind:
            return f"the message has {kind} (detector {detector.name!r})"
    return None
