"""Notes that come once a day, and how to silence them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.stage import Stage
from vanta.cli.terminal import claim_notice

NOTE = "note: track 'api' is off: no OPENAI_API_KEY and no base_url."
CONFIG = """
policy = "local"
[plugins]
allow = ["stage"]
[tracks.local]
engine = "stage"
model = "stage-1"
"""


@pytest.fixture
def without_key(stage: Stage) -> Stage:
    """A stage whose api track is off because it has no key."""
    stage.config.write_text(CONFIG)
    return stage


def test_a_track_that_is_off_is_noted_once_a_day(without_key: Stage) -> None:
    first = without_key.vanta("ask", "echo one")
    assert first.stderr.startswith(NOTE)
    assert "`vanta doctor`" in first.stderr
    assert len(first.stderr) < 160
    assert without_key.vanta("ask", "echo two").stderr == ""


def test_quiet_prints_and_counts_no_note(without_key: Stage) -> None:
    assert without_key.vanta("ask", "--quiet", "echo one").stderr == ""
    assert without_key.vanta("ask", "echo two").stderr.startswith(NOTE)


def test_doctor_always_has_the_whole(without_key: Stage) -> None:
    for _ in range(2):
        done = without_key.vanta("doctor", COLUMNS="400")
        assert "no OPENAI_API_KEY and no base_url: set one" in done.stdout
        assert done.stderr == ""


def test_another_reason_is_another_note_and_another_day_a_new_one(tmp_path: Path) -> None:
    claims = [("off", "2026-11-30"), ("off", "2026-11-30"), ("off: why", "2026-11-30")]
    assert [claim_notice(tmp_path, *claim) for claim in claims] == [True, False, True]
    assert claim_notice(tmp_path, "off", "2026-12-01")
    (file,) = (tmp_path / "notices").iterdir()
    assert file.name.startswith("2026-12-01-")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_note_that_cannot_be_recorded_is_printed(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert claim_notice(blocked, "off")
    assert claim_notice(blocked, "off")


def test_one_of_many_processes_prints_the_note(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vanta.cli.terminal import claim_notice;"
        "sys.stdin.readline(); print(claim_notice(Path(sys.argv[1]), 'off', '2026-11-30'))"
    )
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    printed = [claimer.communicate("go\n", timeout=60)[0].strip() for claimer in claimers]
    assert sorted(printed) == ["False"] * 5 + ["True"]
