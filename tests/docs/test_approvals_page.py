"""The page on approvals is true: its program runs, its commands exist."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import block, page, run_python
from vanta.cli.calls.app import app as calls
from vanta.cli.calls.approvals import app as approvals

PAGE = page("docs/approvals.md")


def test_its_program_approves_a_call_and_resumes_a_turn(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(block(PAGE, "python"), "utf-8")
    done = run_python("example.py", cwd=tmp_path)
    assert done.stdout.splitlines() == [
        'program.send {"to":"Anna"}',
        "finished",
        "finished",
    ], done.stderr


def test_its_commands_exist() -> None:
    for app, group in ((calls, "calls"), (approvals, "approvals")):
        for command in app.registered_commands:
            assert command.callback is not None
            name = command.name or command.callback.__name__
            assert f"vanta {group} {name}" in PAGE
