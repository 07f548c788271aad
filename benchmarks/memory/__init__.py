"""Memory: evidence recalled within a token budget, speed, and durability under SIGKILL.

The parts are `locomo` (recall of evidence in long conversations), `languages` (the right memory
first in twelve languages), `budgets` (prompts inside their
windows), `speed`, `index` (Chroma beside an exact scan) and `kills` (index and store under
SIGKILL). Invariant: a part without its data, weights or library states that in its figures.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..report import Figure, Settings, run_parts

SUMMARY = "memory: evidence within a budget, speed, budgets, durability, deletion"

PARTS = ("locomo", "languages", "budgets", "speed", "index", "kills")


def run(settings: Settings) -> Iterator[Figure]:
    """Measure all parts, one after another."""
    return run_parts(__name__, PARTS, settings)
