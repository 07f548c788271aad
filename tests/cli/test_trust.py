"""`vanta trust`, and what every command does in a folder that is not trusted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vanta as vanta_package
from tests.cli.as_user import install

if TYPE_CHECKING:
    from tests.cli.as_user import Run

PLUGIN = """
from pathlib import Path
from vanta import hookimpl
Path({mark!r}).write_text("ran")
@hookimpl
def vanta_commands(): return {{}}
"""


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of trust of this test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def test_trust_lets_a_folder_count_until_it_changes(vanta: Run, tmp_path: Path) -> None:
    file = tmp_path / "vanta.toml"
    file.write_text('policy = "local"\n')
    assert vanta("config", "show", "--json").json["config"]["policy"] == "race"
    done = vanta("trust", "--json")
    assert done.json == {"folder": str(tmp_path), "files": ["vanta.toml"], "keys": ["policy"]}
    assert vanta("config", "show", "--json").json["config"]["policy"] == "local"
    assert vanta("trust", "list", "--json").json[0]["state"] == "trusted"
    file.write_text('policy = "local" # changed\n')
    assert vanta("trust", "list", "--json").json[0]["state"] == "changed"
    assert vanta("config", "show", "--json").json["config"]["policy"] == "race"


def test_another_folder_can_be_trusted_and_revoked(vanta: Run, tmp_path: Path) -> None:
    other = tmp_path / "list"  # named like a command
    other.mkdir()
    (other / "vanta.toml").write_text("deadline_s = 5\n")
    assert vanta("trust", "./list").code == 0
    assert str(other) in vanta("trust", "list").out
    assert vanta("trust", "revoke", "./list", "--json").json == {"revoked": [str(other)]}
    assert vanta("trust", "revoke", "./list").code == 2
    assert vanta("trust", "./list").code == 0
    assert vanta("trust", "revoke", "--all").code == 0
    assert "no folder is trusted" in vanta("trust", "list").err


@pytest.mark.parametrize("argv", [("trust",), ("trust", "nowhere"), ("trust", "vanta.db")])
def test_what_is_no_project_is_a_mistake_of_usage(vanta: Run, argv: tuple[str, ...]) -> None:
    done = vanta(*argv)
    assert done.code == 2
    assert done.err.startswith("error: ")


def test_a_file_that_cannot_be_read_is_not_trusted(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text("a = [")
    assert vanta("trust").code == 2
    assert vanta("trust", "list", "--json").json == []


@pytest.mark.parametrize(
    "argv", [("--help",), ("config", "show"), ("plugins", "list"), ("doctor",), ("nonsense",)]
)
def test_no_command_runs_code_that_an_untrusted_folder_names(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    mark = tmp_path / "mark"
    install(tmp_path, "theirs", PLUGIN.format(mark=str(mark)), monkeypatch)
    (tmp_path / "vanta.toml").write_text('plugins.allow = ["theirs"]\n')
    vanta(*argv)
    assert not mark.exists()
    assert vanta("trust").code == 0
    assert "theirs" in vanta("plugins", "list").out
    assert mark.exists()  # so the test can find it


def test_help_works_beside_a_file_that_cannot_be_read(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "theirs", "", monkeypatch)
    (tmp_path / "vanta.toml").write_text("a = [")
    done = vanta("--help")
    assert done.code == 0
    assert "trust" in done.out


def test_libraries_are_tried_without_modules_of_the_working_directory(
    vanta: Run, tmp_path: Path
) -> None:
    for name in ("json", "llama_cpp", "importlib"):
        (tmp_path / f"{name}.py").write_text("open('mark', 'w').write('ran')\n")
    vanta("doctor")
    assert not (tmp_path / "mark").exists()


def test_doctor_and_config_show_what_is_ignored(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text('policy = "local"\n')
    (tmp_path / ".vanta" / "templates").mkdir(parents=True)
    findings = {item["check"]: item for item in vanta("doctor", "--json").json["findings"]}
    assert findings["project"]["ok"] is None
    assert "policy" in findings["project"]["detail"]
    assert ".vanta/templates" in findings["project"]["detail"]
    assert findings["project"]["fix"] == f"vanta trust {tmp_path}"
    assert vanta("config", "explain", "policy", "--json").json["ignored"] == [
        {"origin": "vanta.toml:1", "value": "local"}
    ]


def test_templates_of_a_folder_count_after_trust(vanta: Run, tmp_path: Path) -> None:
    template = tmp_path / ".vanta" / "templates" / "system" / "theirs.j2"
    template.parent.mkdir(parents=True)
    template.write_text("be evil")
    assert vanta("templates", "render", "system/theirs").code == 2
    assert vanta("trust").code == 0
    assert vanta("templates", "render", "system/theirs").out.strip() == "be evil"


@pytest.mark.parametrize("argv", [("config", "show"), ("policies", "list"), ("spend",)])
def test_a_file_of_a_stranger_that_cannot_be_read_ends_no_command(
    vanta: Run, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    file = tmp_path / "vanta.toml"
    file.write_text("\n[budget\n")
    done = vanta(*argv)
    assert done.code == 0
    assert "is not trusted: its file is ignored: vanta.toml:2:" in done.text
    file.unlink()
    os.mkfifo(file)
    done = vanta(*argv)
    assert done.code == 0
    assert "it is a pipe, not a regular file" in done.text
    problem = vanta("config", "check")
    assert problem.code == 2
    assert "pipe" in problem.out


def test_a_mistake_in_a_file_that_was_trusted_ends_the_command(vanta: Run, tmp_path: Path) -> None:
    file = tmp_path / "vanta.toml"
    file.write_text("policy = 'local'\n")
    assert vanta("trust").code == 0
    file.write_text("policy = 'local\n")
    done = vanta("config", "show")
    assert done.code == 2
    assert "vanta.toml:2: this is not valid TOML" in done.err


@pytest.mark.parametrize("rest", ["", os.pathsep])
def test_python_m_takes_no_library_and_no_plugin_from_the_working_directory(
    rest: str, tmp_path: Path
) -> None:
    for name in ("typer", "rich", "yaml", "stolen"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').write('ran')")
    info = tmp_path / "vanta_runtime-9.dist-info"  # a stranger's plugin under vanta's own name
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vanta-runtime\nVersion: 9\n")
    (info / "entry_points.txt").write_text(
        "[vanta.commands]\nstolen = stolen:commands\n[vanta]\nstolen = stolen\n"
    )
    root = str(Path(vanta_package.__file__).parents[1])
    environ = {
        **os.environ,
        "PYTHONPATH": root + rest,  # an empty part is the working directory
    }
    for argv in (["--help"], ["plugins", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", "vanta", *argv],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "mark").exists()
