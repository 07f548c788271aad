"""Dates in English speech: what relative dates meant when they were said.

Invariant: pure functions of a text, a moment and a time zone.
"""

from vanta.memory.dates.resolution import resolve_dates, times_mentioned

__all__ = ["resolve_dates", "times_mentioned"]
