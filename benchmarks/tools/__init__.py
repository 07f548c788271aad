"""Tools: those that a question needs, shown within a budget of tokens.

The parts are `recall` and `valid_calls`. Invariant: a part without its data or weights states that
in its figures.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from ..report import Figure, Settings

SUMMARY = "tools: those that a question needs, within a budget of tokens"

PARTS = ("recall", "valid_calls")


def run(settings: Settings) -> Iterator[Figure]:
    """Measure all parts, one after another."""
    for name in PARTS:
        part = importlib.import_module(f".{name}", __name__)
        yield from part.figures(settings)
