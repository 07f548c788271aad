"""The page on sessions is true: its program prints what it says, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.as_user import Run
from tests.docs.pages import block, blocks, first_column, page, run_python
from vanta.runtime import Session

PAGE = page("docs/sessions.md")


def test_the_program_prints_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "trip.py").write_text(blocks(PAGE, "python")[0], encoding="utf-8")
    ran = run_python("trip.py", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == block(PAGE, "text")


def test_every_call_of_the_page_exists(vanta: Run) -> None:
    for name in re.findall(r"`session\.(\w+)\(", PAGE):
        assert hasattr(Session, name), name
    for command in re.findall(r"^\$ vanta sessions (\w+)", PAGE, re.MULTILINE):
        assert vanta("sessions", command, "--help").code == 0, command
    assert first_column(PAGE) == {"session"}
