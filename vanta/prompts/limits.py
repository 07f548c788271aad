"""What one render may take.

Invariant: plain numbers, so that they can be named without loading Jinja.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """What one render may take: characters of output, of any value on the way and of a template
    file; steps (loop rounds, calls, values looked at); seconds on the clock."""

    characters: int = 250_000
    steps: int = 200_000
    seconds: float = 2.0
