"""Two processes that remember, killed at random moments: nothing acknowledged is lost.

The benchmark `memory` does the same a thousand times.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vanta.installation import benchmarks_dir


@pytest.mark.parametrize(("index", "rounds"), [("scan", 5), ("chroma", 2)])
@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_every_store_opens(index: str, rounds: int) -> None:
    program = benchmarks_dir() / "memory_mortals.py"
    done = subprocess.run(
        [sys.executable, str(program), str(rounds), "11", index],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 2 * rounds
    assert found["acknowledged"] > rounds
    assert {
        name: found[name] for name in ("lost", "unopened", "not_found", "bytes_left", "not_in_step")
    } == dict.fromkeys(("lost", "unopened", "not_found", "bytes_left", "not_in_step"), 0)
