"""`vanta sessions`, as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from tests.cli.as_user import Run
from tests.runtime.home import open_scripted
from vanta.testing import ScriptedEngine


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """The data directory of a user with two sessions, one of them private and edited."""
    folder = tmp_path / "data"

    async def make() -> None:
        local = ScriptedEngine("Noted.")
        async with open_scripted(folder, local=local, config={"memory": {"embedder": "none"}}) as r:
            await r.session("plans").ask("We go to Lisbon in May.")
            diary = r.session("diary", private=True)
            await diary.ask("My secret is green.")
            await diary.edit((await diary.exchange()).turn, "My secret is blue.")

    anyio.run(make)
    (folder / "chat_history").write_text("My secret is green.\nsomething else\n")
    return folder


def test_sessions_are_listed_and_found(vanta: Run, talks: Path) -> None:
    listed = vanta("sessions", "list", "--json").json
    assert [(item["id"], item["private"], item["turns"]) for item in listed] == [
        ("diary", True, 2),
        ("plans", False, 1),
    ]
    assert "default (private)" in vanta("sessions", "list").text
    found = vanta("sessions", "search", "LISBON", "may", "--json").json
    assert [item["id"] for item in found] == ["plans"]
    assert "We go to Lisbon in May." in vanta("sessions", "search", "lisbon").text
    assert "No conversation has them" in vanta("sessions", "search", "porto").text
    assert vanta("sessions", "search", " ").code == 2
    assert vanta("sessions", "list", "--user", "bob", "--json").json == []


def test_a_session_is_shown_with_its_branches(vanta: Run, talks: Path) -> None:
    shown = vanta("sessions", "show", "diary")
    assert "user: My secret is blue." in shown.out
    assert "green" not in shown.out
    assert "2 (shown)" in shown.text
    assert "replaced" in shown.text
    data = vanta("sessions", "show", "diary", "--json").json
    assert [branch["kind"] for branch in data["branches"]] == ["main", "edit"]
    assert data["branch"] == "2"
    main = vanta("sessions", "show", "diary", "--branch", "main", "--ids")
    assert "My secret is green." in main.out
    assert data["branches"][0]["turns"][0] in main.text


def test_a_branch_is_chosen_and_a_title_given(vanta: Run, talks: Path) -> None:
    done = vanta("sessions", "switch", "diary", "main")
    assert "continues branch main (1 turns)" in done.text
    assert "green" in vanta("sessions", "show", "diary").out
    assert "plans: Trip" in vanta("sessions", "rename", "plans", "Trip").text
    assert vanta("sessions", "show", "plans", "--json").json["title"] == "Trip"
    wrong = vanta("sessions", "switch", "diary", "mian")
    assert wrong.code == 2
    assert "no branch is named 'mian'" in wrong.text


def test_an_export_goes_to_the_output_or_a_file(vanta: Run, talks: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in vanta("sessions", "export", "diary").out.splitlines()]
    assert [line["type"] for line in lines].count("message") == 4
    file = tmp_path / "diary.md"
    done = vanta("sessions", "export", "diary", "-f", "markdown", "--traces", "-o", str(file))
    assert done.out == ""
    assert "> My secret is green." in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o077 == 0


def test_a_deleted_session_leaves_no_text(vanta: Run, talks: Path) -> None:
    refused = vanta("sessions", "delete", "diary")
    assert refused.code != 0
    assert "Add --yes" in refused.text
    deleted = vanta("sessions", "delete", "diary", "--yes", "--json").json
    assert deleted == {"id": "diary", "user": "default", "messages": 4, "typed_lines": 1}
    assert [item["id"] for item in vanta("sessions", "list", "--json").json] == ["plans"]
    assert (talks / "chat_history").read_text() == "something else\n"
    assert b"secret is" not in (talks / "vanta.db").read_bytes()


def test_an_unknown_session_is_an_error_with_the_nearest_name(vanta: Run, talks: Path) -> None:
    for arguments in (["show"], ["export"], ["delete", "--yes"]):
        done = vanta("sessions", arguments[0], "plan", *arguments[1:])
        assert done.code == 2
        assert "'plans'" in done.text
