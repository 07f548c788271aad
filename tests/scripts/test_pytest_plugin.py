"""Scripts as pytest tests, each in its own pytest process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
import os
import vanta
from vanta.testing import ScriptedEngine, scripted_plugin


def opening():
    def remembers(request):
        messages = [message.content for message in request.messages if message.role == "user"]
        return [" then ".join(messages)]

    data = folder / os.environ.get("PYTEST_XDIST_WORKER", "data")
    config = {"data_dir": str(data), "policy": "local",
              "tracks": {"local": {"engine": "scripted", "model": "m"}}}
    with (folder / "opened").open("a") as file:
        file.write("x")
    return vanta.open(config, plugins=[scripted_plugin(local=ScriptedEngine(reply=remembers))])


def pytest_vanta_open(config, path):
    return opening


import pathlib
folder = pathlib.Path(__file__).parent
"""
GOOD = """
name: good
turns:
- {say: one, expect: {equals: one}}
- {say: two, expect: {equals: one then two}}
- {say: three, restart: true, expect: {equals: one then two then three}}
"""
MIXED = """
name: mixed
matrix: {sampling: [{seed: 1}, {seed: 2}]}
turns:
- {say: one, expect: {equals: one}}
- {say: two, expect: {contains: three}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "good.vanta.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text("no script")
    return tmp_path


def ran(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *argv],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_every_turn_is_a_test_on_one_runtime(folder: Path) -> None:
    (folder / "mixed.vanta.yaml").write_text(MIXED)
    output = ran(folder, "-v")
    assert "good.vanta.yaml::turn 3 PASSED" in output
    assert "mixed.vanta.yaml::turn 1 [sampling=seed:2] PASSED" in output
    assert "mixed.vanta.yaml::turn 2 [sampling=seed:1] FAILED" in output
    assert "expected a reply that contains 'three'" in output
    assert "got      'one then two'" in output
    assert "Traceback" not in output
    assert "2 failed, 5 passed" in output
    assert (folder / "opened").read_text() == "xxx"  # one, and two for the script that restarts


def test_a_selected_turn_runs_the_turns_before_it(folder: Path) -> None:
    assert "1 passed" in ran(folder, "good.vanta.yaml::turn 2")


def test_scripts_run_in_several_processes(folder: Path) -> None:
    (folder / "mixed.vanta.yaml").write_text(MIXED)
    assert "2 failed, 5 passed" in ran(folder, "-n", "2", "--dist", "loadfile")
    assert "2 failed, 5 passed" in ran(folder, "-n", "2")


def test_an_invalid_script_is_a_collection_error(folder: Path) -> None:
    (folder / "bad.vanta.yaml").write_text("name: n\nturnes: []")
    output = ran(folder)
    assert "Did you mean 'turns'?" in output
    assert "Traceback" not in output


def test_a_script_with_a_pass_rate_is_one_test(folder: Path) -> None:
    text = "name: share\nrepeat: 2\npass_rate: 0.5\nturns:\n- {say: one, expect: {equals: 'two'}}"
    (folder / "share.vanta.yaml").write_text(text)
    output = ran(folder, "share.vanta.yaml")
    assert "0 of 2 runs passed, 50% must pass" in output
    assert "1 failed" in output


def test_without_a_conftest_the_ini_file_names_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "s.vanta.yaml").write_text("name: n\nturns: [{say: a, track: nowhere}]")
    (tmp_path / "pytest.ini").write_text("[pytest]\nvanta_config = mine.toml\n")
    (tmp_path / "mine.toml").write_text(
        f"data_dir = '{tmp_path}/data'\n[tracks.elsewhere]\nengine = 'openai'\nmodel = 'm'\n"
        "[tracks.elsewhere.options]\nbase_url = 'http://127.0.0.1:9/v1'\n"
    )
    assert "no track is named 'nowhere'. Did you mean 'elsewhere'?" in ran(tmp_path)


@pytest.mark.anyio
async def test_a_fixture_opens_a_session(vanta_session, scripted) -> None:  # type: ignore[no-untyped-def]
    session = await vanta_session("ada", user="bob", local=scripted("hello"), policy="local")
    assert (session.id, session.user) == ("ada", "bob")
    assert (await session.ask("hi")).text == "hello"
