"""Decides whether a message makes its turn private.

A caller makes a turn private with `private=True`, or a detector that the configuration names finds
something in the message that must not leave the machine. Invariants: a detector can make a turn
private, never public; its findings are named by their kind and never quoted. A message that cannot
be searched, because it or the search is too long, makes its turn private.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread

QUICK_CHARACTERS = 4_096
"""Up to this length a message is searched at once; a longer one on a worker thread."""

SEARCHED_CHARACTERS = 1_000_000
"""The longest message that is searched."""

SLICE_CHARACTERS, OVERLAP_CHARACTERS = 65_536, 24_576
"""A long message is searched in slices, so that the search can be cancelled between them. They
overlap by more than the longest finding: tokens of 8,000 characters in three parts."""

TOO_LONG = f"the message is longer than the {SEARCHED_CHARACTERS} characters that are searched"
TOO_LATE = "the message could not be searched by the detectors in time"


class Detector(Protocol):
    """Finds text that must not leave the machine; plugins provide it with `vanta_detectors`.

    :ivar name: the name under which `privacy.detect` turns it on.
    :ivar summary: one line for a person.
    """

    name: str
    summary: str

    def find(self, text: str) -> str | None:
        """Return the kind of the first finding in `text` ("an API key"), or None.

        Called on the event loop for a short message and on a worker thread for a long one: it
        must be quick, take linear time and do no I/O. A long message is passed in slices.

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


async def search_message(text: str, detectors: Sequence[Detector], until: float) -> str | None:
    """Return why a message has to stay private, or None; the event loop is never blocked for long.

    :param text: the message.
    :param detectors: the detectors that are on.
    :param until: when the search must end, in seconds on the event loop's clock.
    """
    if not detectors:
        return None
    if len(text) <= QUICK_CHARACTERS:
        return reason_to_be_private(text, detectors)
    if len(text) > SEARCHED_CHARACTERS:
        return TOO_LONG
    for part in _slices(text):
        search = partial(reason_to_be_private, part, detectors)
        with anyio.move_on_at(until) as scope:
            reason = await anyio.to_thread.run_sync(search, abandon_on_cancel=True)
        if scope.cancelled_caught:
            return TOO_LATE
        if reason:
            return reason
    return None


def _slices(text: str) -> Iterator[str]:
    """Yield overlapping slices of a text, each beginning after white space where there is some."""
    start = 0
    while True:
        end = start + SLICE_CHARACTERS
        yield text[start:end]
        if end >= len(text):
            return
        start = end - OVERLAP_CHARACTERS
        gap = text.rfind(" ", start - 256, start)
        start = gap + 1 if gap >= 0 else start
