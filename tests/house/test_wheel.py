"""What a user installs holds all that vanta needs, and nothing that it does not."""

from __future__ import annotations

import configparser
import os
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, run
from tests.house.source import MODULES
from vanta import installation


@pytest.fixture(scope="module")
def unpacked(vanta_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as an installation has them."""
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(vanta_wheel).extractall(folder)
    return folder


BUILT_IN = (
    "vanta_chroma",
    "vanta_embedders",
    "vanta_facts",
    "vanta_llamacpp",
    "vanta_mcp",
    "vanta_openai",
    "vanta_privacy",
    "vanta_scripts",
    "vanta_server",
    "vanta_tools",
    "vanta_tuning",
)


def test_it_has_every_module_of_vanta_and_of_the_built_in_plugins(unpacked: Path) -> None:
    for path in MODULES.values():
        inside = path.relative_to(ROOT)
        parts = inside.parts[1:] if inside.parts[0] == "plugins" else inside.parts
        assert unpacked.joinpath(*parts).is_file(), inside
    for package in ("vanta", *BUILT_IN):
        assert (unpacked / package / "py.typed").is_file()


@pytest.mark.parametrize("name", ["templates", "configs", "benchmarks"])
def test_it_has_the_data_of_the_checkout(unpacked: Path, name: str) -> None:
    there = {path.relative_to(ROOT / name) for path in _data(ROOT / name)}
    carried = unpacked / "vanta" / "_data" / name
    assert there == {path.relative_to(carried) for path in _data(carried)}
    assert there


def test_it_has_no_tests_and_no_stray_folders(unpacked: Path) -> None:
    top = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"vanta", *BUILT_IN}


def test_it_brings_the_command_and_the_built_in_plugins(unpacked: Path) -> None:
    (path,) = unpacked.glob("*.dist-info/entry_points.txt")
    points = configparser.ConfigParser(delimiters="=")
    points.read(path)
    assert points["console_scripts"]["vanta"] == "vanta.cli:main"
    assert dict(points["vanta"]) == {name.removeprefix("vanta_"): name for name in BUILT_IN}
    assert points["pytest11"]["vanta"] == "vanta.testing.pytest_plugin"


def test_installed_vanta_finds_its_data_in_the_wheel(unpacked: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "from vanta import installation\n"
        "from vanta.config import load\n"
        "assert load('offline', environ={}).config.policy == 'local'\n"
        "print(installation.templates_dir(), installation.configs_dir())\n"
        "print(installation.benchmarks_dir())\n"
    )
    data = unpacked / "vanta" / "_data"
    # Its coverage is not measured: the same lines, at another place, would count as never run.
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    shown = run(sys.executable, "-P", "-c", code, cwd=unpacked, env=environ).split()
    assert shown == [str(data / name) for name in ("templates", "configs", "benchmarks")]


def test_a_checkout_finds_its_data_at_its_top() -> None:
    found = (
        installation.templates_dir(),
        installation.configs_dir(),
        installation.benchmarks_dir(),
    )
    assert found == tuple(ROOT / name for name in ("templates", "configs", "benchmarks"))


def _data(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]
