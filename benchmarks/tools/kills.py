"""Agents killed at random moments: no write call runs twice, and none without an end is hidden.

The work is done by `killed_agents`, in a process of its own. Invariant: what ran is counted by
marks outside the database; a call without an end counts as reported only if the journal has it as
`unknown` and the model of the session's next turn was told so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..report import Figure, Settings

KILLS, KILLS_QUICK = 1000, 10
TWICE = "write calls that ran twice, in kills at random moments"
REPORTED = "calls without an end that are reported as unknown"


def figures(settings: Settings) -> list[Figure]:
    """Return both figures."""
    count = settings.times(KILLS, KILLS_QUICK)
    settings.progress("tools: kills", 0, count)
    command = [sys.executable, "-m", "benchmarks.tools.killed_agents"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder, str(count), "1"],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).resolve().parents[2],
        )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        return _figures(None, None, f"the killed agents could not be measured: {why[0]}")
    return _of(json.loads(done.stdout))


def _of(outcome: dict[str, Any]) -> list[Figure]:
    unknown, lost = outcome["unknown"], outcome["lost"]
    reported = 100 * outcome["told"] / (unknown + lost) if unknown + lost else None
    note = (
        f"{outcome['kills']} kills, {outcome['ran']} calls ran, {unknown} unknown, "
        f"{lost} lost; {outcome['without_end']} of those that ran have no end"
    )
    return _figures(outcome["twice"], reported, note)


def _figures(twice: float | None, reported: float | None, note: str) -> list[Figure]:
    return [
        Figure(name=TWICE, value=twice, unit="calls", better="lower", goal=0.0, note=note),
        Figure(name=REPORTED, value=reported, unit="%", better="higher", goal=100.0, note=note),
    ]
