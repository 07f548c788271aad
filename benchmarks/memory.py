"""Memory: what it finds at a token budget, what it costs, and that it survives being killed.

The parts are modules of their own: `memory_locomo` (recall of evidence in long conversations),
`memory_budgets` (prompts inside their windows), `memory_speed`, `memory_index` (Chroma beside an
exact scan), `memory_kills` (index and store under SIGKILL). Invariant: a part whose data, weights
or library is not there says so in its figures.
"""

from __future__ import annotations

from collections.abc import Iterator

from .report import Figure
from .settings import Settings

SUMMARY = "memory: evidence found at a budget, speed, budgets kept, kills survived, bytes forgotten"

PARTS = ("memory_locomo", "memory_budgets", "memory_speed", "memory_index", "memory_kills")


def run(settings: Settings) -> Iterator[Figure]:
    """Measure all parts, one after another."""
    import importlib

    for name in PARTS:
        part = importlib.import_module(f".{name}", __package__)
        yield from part.figures(settings)
