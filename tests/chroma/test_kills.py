"""Owners of an index that are killed at random moments lose nothing that they acknowledged.

The benchmark `memory` repeats this a thousand times.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vanta.installation import benchmarks_dir

KILLS = 6
NO_HARM = {"lost": 0, "foreign": 0, "not_found": 0, "unopened": 0}


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_and_every_folder_opens() -> None:
    program = benchmarks_dir() / "memory" / "index_processes.py"
    completed = subprocess.run(
        [sys.executable, str(program), str(KILLS), "5", "ours"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    tally = json.loads(completed.stdout)
    assert tally["kills"] == KILLS
    assert tally["acknowledged"] > KILLS
    assert {name: tally[name] for name in NO_HARM} == NO_HARM
