"""Install hints name vanta's own distribution; `vanta` on the public index is another project."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, run
from tests.house.source import MODULES, tree
from vanta.installation import DISTRIBUTION, install_hint, library_hint
from vanta.plugin_loading import load

PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
HINT = re.compile(r"""\bvanta\[|\binstall +(?:-[\w-]+ +)*['"]?vanta(?![\w./-])""")
PAGES = ("*.py", "*.md", "*.toml", "*.yaml", "*.j2", "*.html", "Makefile")
IGNORED = {".git", ".venv", ".mypy_cache", ".ruff_cache", "shared", "dist", "build"}


def texts() -> list[Path]:
    """Return every file of the project whose text may hold an install hint."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED]
    found = {path for page in PAGES for folder in folders for path in folder.rglob(page)}
    found |= {path for page in PAGES for path in ROOT.glob(page)}
    return sorted(found - {Path(__file__), ROOT / "vanta/installation.py"})


def test_no_text_recommends_the_foreign_distribution() -> None:
    hints = {str(path): HINT.findall(path.read_text("utf-8", "replace")) for path in texts()}
    assert len(hints) > 300
    assert {path: found for path, found in hints.items() if found} == {}


@pytest.mark.parametrize(
    "text", ["pip install 'vanta[openai]'", "reinstall vanta[x]", "pip install vanta", "vanta[all]"]
)
def test_a_wrong_hint_would_be_found(text: str) -> None:
    assert HINT.search(text)


def test_the_distribution_has_the_name_that_hints_use() -> None:
    assert PROJECT["name"] == DISTRIBUTION


def test_every_hint_names_extras_that_exist() -> None:
    calls = [
        node
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "install_hint"
    ]
    named = {
        argument.value
        for call in calls
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    assert {"documents", "openai"} <= named
    assert named <= EXTRAS


def test_every_factory_names_an_extra_that_exists() -> None:
    plugins = load()
    factories = [
        factory
        for registry in (plugins.engines, plugins.embedders, plugins.vector_indexes)
        for factory in registry.values()
        if factory.requires
    ]
    assert len(factories) >= 4
    for factory in factories:
        assert factory.extra in EXTRAS
        assert plugins.library_hint(factory) == library_hint(factory, DISTRIBUTION)


def test_a_checkout_installs_itself_again() -> None:
    assert install_hint("openai", "testing") == "pip install -e '.[openai,testing]'"
    assert install_hint("x", distribution="vanta-odd") == "pip install 'vanta-odd[x]'"


def test_an_installed_wheel_names_its_distribution(vanta_wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(vanta_wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vanta import install_hint\n"
        "print(install_hint('openai'), install_hint(), sep='; ')\n"
    )
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    shown = run(sys.executable, "-P", "-c", code, cwd=tmp_path, env=environ).strip()
    assert shown == f"pip install '{DISTRIBUTION}[openai]'; pip install '{DISTRIBUTION}'"
