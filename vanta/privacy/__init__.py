"""What makes a turn private, and what servers may not repeat of it.

Invariant: a detector can make a turn private, never public; scrubbing only removes text.
"""

from __future__ import annotations

from vanta.privacy.detection import (
    OVERLAP_CHARACTERS,
    QUICK_CHARACTERS,
    SEARCHED_CHARACTERS,
    SLICE_CHARACTERS,
    TOO_LATE,
    TOO_LONG,
    Detector,
    reason_to_be_private,
    search_message,
)
from vanta.privacy.scrubbing import (
    Quotations,
    forget_texts,
    remove_quotations,
    scrub_error,
    traceback_texts,
)

__all__ = [
    "OVERLAP_CHARACTERS",
    "QUICK_CHARACTERS",
    "SEARCHED_CHARACTERS",
    "SLICE_CHARACTERS",
    "TOO_LATE",
    "TOO_LONG",
    "Detector",
    "Quotations",
    "forget_texts",
    "reason_to_be_private",
    "remove_quotations",
    "scrub_error",
    "search_message",
    "traceback_texts",
]
