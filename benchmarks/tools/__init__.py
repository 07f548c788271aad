"""Tools: those that a question needs, calls that are valid, and turns that act.

Each name in `PARTS` is a module of this room. Invariant: a part without its data or weights states
that in its figures.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..report import Figure, Settings, run_parts

SUMMARY = "tools: those that a question needs, valid calls, failover, rounds, equal calls, kills"

PARTS = ("recall", "valid_calls", "failover", "rounds", "shared_calls", "kills")


def run(settings: Settings) -> Iterator[Figure]:
    """Measure all parts, one after another."""
    return run_parts(__name__, PARTS, settings)
