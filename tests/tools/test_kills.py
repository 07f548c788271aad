"""Processes that are killed at random moments: no write call runs twice, none is lost sight of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

KILLS = 16


def test_no_write_call_runs_twice_and_each_without_an_end_is_unknown(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.tools.kill_loop", str(tmp_path), str(KILLS), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    ran, states, attempts = outcome["ran"], outcome["states"], outcome["attempts"]
    assert len(ran) > KILLS
    assert set(ran.values()) == {1}
    assert set(ran) <= {key for key, state in states.items() if state in ("finished", "unknown")}
    assert {key for key, state in states.items() if state == "finished"} <= set(ran)
    without_end = {key for key, started in attempts.items() if started} - {
        key for key, state in states.items() if state == "finished"
    }
    assert {states[key] for key in without_end} <= {"unknown"}
    assert set(states.values()) <= {"finished", "unknown", "requested", "approved"}
