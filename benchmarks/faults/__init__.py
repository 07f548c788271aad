"""Faults: what breaks between vanta and its servers, and the promises that must hold then.

The parts are `broken_answers` (streams that break in the middle, turns that must stay private),
`streams` (streams without an end or without sense), `project_folder` (folders of strangers) and
`privacy` (policies x faults x promises of privacy, and what a cached prefix shows).
Invariant: a promise is counted on real sockets and real files.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..report import Figure, Settings, run_parts

SUMMARY = "broken streams are finished, private turns stay private"

PARTS = ("broken_answers", "streams", "project_folder", "privacy")


def run(settings: Settings) -> Iterator[Figure]:
    """Measure all parts, one after another."""
    return run_parts(__name__, PARTS, settings)
