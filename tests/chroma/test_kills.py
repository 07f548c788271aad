"""Owners of an index, killed at random moments: what they acknowledged is there.

The benchmark `memory` does the same a thousand times.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vanta.resources import benchmarks_dir

KILLS = 6
NOTHING_WRONG = {"lost": 0, "foreign": 0, "not_found": 0, "unopened": 0}


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_and_every_folder_opens() -> None:
    program = benchmarks_dir() / "memory_index_mortals.py"
    done = subprocess.run(
        [sys.executable, str(program), str(KILLS), "5", "ours"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == KILLS
    assert found["acknowledged"] > KILLS
    assert {name: found[name] for name in NOTHING_WRONG} == NOTHING_WRONG
