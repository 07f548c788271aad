"""A stranger's plugin, built and installed as strangers do, is used by name."""

from __future__ import annotations

import ast
import json
import os
import re
import site
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.house.conftest import ROOT, build_wheel, run
from tests.house.source import imports_of

ECHO = ROOT / "examples" / "vanta-echo"
WEATHER = ROOT / "examples" / "vanta-weather"

# What the stranger's user writes; it talks to vanta by public names only.
PROGRAM = """
import json, sys
import anyio
import vanta

async def main(config):
    told = {}
    try:
        async with vanta.open(config) as runtime:
            reply = await runtime.session("ada").ask("hello there", track="echo")
            second = await runtime.session("ada").ask("and again")
            told["texts"] = [reply.text, second.text]
            told["track"] = [reply.track, reply.model]
            told["tokens"] = second.usage.output_tokens
            told["policy"] = second.trace.policy
            told["origins"] = {
                "engine": runtime.plugins.engines.origin("echo"),
                "policy": runtime.plugins.policies.origin("local-or-echo"),
            }
            told["system"] = runtime.templates.render("system/parrot", {"user": "ada"})
            told["plugins"] = runtime.plugins.describe()
    except vanta.UsageError as error:
        told["error"] = str(error)
    told["imported"] = "vanta_echo" in sys.modules
    told["vanta"] = vanta.__file__
    print(json.dumps(told))

anyio.run(main, json.loads(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def python(vanta_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a throw-away environment with vanta and the examples, without a network.

    What they depend on is seen there through a path file, so that nothing has to be fetched.
    """
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "env", with_pip=False, symlinks=os.name != "nt")
    wheels = [
        build_wheel(source, tmp_path_factory.mktemp(f"{source.name}-wheel"))
        for source in (ECHO, WEATHER)
    ]
    inside = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (sys.executable, "-m", "pip", "--python", inside, "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", vanta_wheel, *wheels)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(inside, "-I", "-c", where).strip())
    shared = [path for path in [*site.getsitepackages(), *sys.path] if "-packages" in path]
    packages.joinpath("shared.pth").write_text("\n".join(dict.fromkeys(shared)), "utf-8")
    return inside


def use(python: Path, home: Path, **config: Any) -> dict[str, Any]:
    """What the program tells when it is run in the environment with this configuration."""
    home.mkdir(exist_ok=True)
    config = {
        "data_dir": str(home / "data"),
        "policy": "local-or-echo",
        "tracks": {
            "local": {"enabled": False},
            "api": {"enabled": False},
            "echo": {"engine": "echo", "model": "words", "options": {"shout": True}},
        },
        **config,
    }
    done = subprocess.run(
        [str(python), "-I", "-c", PROGRAM, json.dumps(config)],
        capture_output=True,
        text=True,
        cwd=home,
        env=_at_home(home),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert str(python.parent.parent) in told["vanta"], "it is not the installed vanta"
    return told


def test_it_is_off_and_not_imported_until_it_is_allowed(python: Path, tmp_path: Path) -> None:
    told = use(python, tmp_path / "home")
    assert "no policy is named 'local-or-echo'" in told["error"]
    assert not told["imported"]
    told = use(python, tmp_path / "home", policy="race")
    assert "no engine is named 'echo'" in told["error"]
    assert "Plugins that are not on: 'echo' (off), 'weather' (off)" in told["error"]
    assert not told["imported"]


def test_once_allowed_its_engine_policy_and_template_are_used_by_name(
    python: Path, tmp_path: Path
) -> None:
    told = use(python, tmp_path / "home", system="parrot", plugins={"allow": ["echo"]})
    assert "error" not in told, told["error"]
    assert told["texts"] == ["HELLO THERE", "AND AGAIN"]
    assert told["track"] == ["echo", "words"]
    assert told["tokens"] == 2
    assert told["policy"] == "local-or-echo"
    assert told["origins"] == {"engine": "echo", "policy": "echo"}
    assert "Repeat every word that ada says" in told["system"]
    (echo,) = [plugin for plugin in told["plugins"] if plugin["name"] == "echo"]
    assert (echo["distribution"], echo["version"], echo["status"]) == ("vanta-echo", "1.0", "on")
    assert not echo["builtin"]
    others = [plugin for plugin in told["plugins"] if not plugin["builtin"]]
    assert [(item["name"], item["status"]) for item in others] == [
        ("echo", "on"),
        ("weather", "off"),
    ]


def test_its_options_are_checked_by_its_own_model(python: Path, tmp_path: Path) -> None:
    track = {"engine": "echo", "model": "words", "options": {"shuot": True}}
    told = use(python, tmp_path / "home", tracks={"echo": track}, plugins={"allow": ["echo"]})
    assert "tracks.echo.options" in told["error"]
    assert "shuot" in told["error"]


def test_what_its_page_shows_works(python: Path, tmp_path: Path) -> None:
    page = ECHO.joinpath("README.md").read_text("utf-8")
    (settings,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    program += "\nimport anyio\nanyio.run(main)\n"
    assert _last_line(python, program, tmp_path) == "hello there"
    tmp_path.joinpath("vanta.toml").write_text(settings, "utf-8")
    trusting = "from vanta.cli import main; main(['trust'])"
    run(python, "-I", "-c", trusting, cwd=tmp_path, env=_at_home(tmp_path))
    program = program.replace("vanta.open(config)", "vanta.open()")
    assert _last_line(python, program, tmp_path) == "HELLO THERE"


@pytest.mark.parametrize(
    "path", sorted([*ECHO.rglob("*.py"), *WEATHER.rglob("*.py")]), ids=lambda path: path.name
)
def test_it_uses_nothing_of_vanta_but_public_names(path: Path) -> None:
    for found in imports_of(ast.parse(path.read_text("utf-8"))):
        inner = [*found.module.split("."), found.name]
        assert inner[0] != "vanta" or not [part for part in inner if part.startswith("_")], found


def _last_line(python: Path, program: str, home: Path) -> str:
    return run(python, "-I", "-c", program, cwd=home, env=_at_home(home)).splitlines()[-1]


def _at_home(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"]}


@pytest.mark.parametrize("example", [ECHO, WEATHER], ids=lambda path: path.name)
def test_the_strangers_own_tests_hold_it_to_the_public_contract(
    python: Path, example: Path
) -> None:
    options = ("-q", "-c", os.devnull, "--import-mode=importlib", "-p", "no:cacheprovider")
    shown = run(python, "-I", "-m", "pytest", *options, example / "tests", cwd=python.parent)
    assert "passed" in shown
    assert "failed" not in shown


def test_a_toolset_of_a_stranger_is_used_once_it_is_allowed_and_named(
    python: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "vanta.toml"
    program = "from vanta.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    check = (python, "-I", "-c", program, "--config", settings, "tools", "check")
    settings.write_text('[plugins]\nallow = ["weather"]\n[tools]\nuse = ["weather"]\n', "utf-8")
    done = run(*check, cwd=tmp_path, env=_at_home(tmp_path))
    assert done.strip().endswith("ok: weather: 2 tools")
    settings.write_text('[plugins]\nallow = []\n[tools]\nuse = ["weather"]\n', "utf-8")
    refused = subprocess.run(
        check, cwd=tmp_path, env=_at_home(tmp_path), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "Plugins that are not on" in refused.stderr
