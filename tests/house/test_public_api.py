"""The public API: one list, documented, and nothing else is used from outside."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from tests.house.source import (
    MODULES,
    ROOT,
    Import,
    imports,
    imports_of,
    plugin_folders,
    script,
)

PLUGINS = {folder.name for folder in plugin_folders()}
BASELINE = Path(__file__).with_name("public_names.txt")
"""The public names of the last release; they change only when a release is made."""


API = script("build_api")
PUBLIC = {room: frozenset(API.names(room)) for room in API.ROOMS}


def _foreign(found: list[Import]) -> list[Import]:
    """Return what is imported of vanta that is not public."""
    return [
        one
        for one in found
        if one.module.split(".")[0] == "vanta"
        and (one.name or one.module != "vanta")
        and one.name not in PUBLIC.get(one.module, ())
    ]


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] in PLUGINS])
def test_a_plugin_imports_public_names_only_and_no_other_plugin(module: str) -> None:
    own = module.split(".", maxsplit=1)[0]
    roots = {found.module.split(".")[0] for found in imports(module)}
    assert not roots & (PLUGINS - {own})
    assert _foreign(imports(module)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.py")), ids=lambda p: p.name)
def test_an_example_imports_public_names_only(path: Path) -> None:
    assert _foreign(imports_of(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda p: p.name
)
def test_a_page_imports_public_names_only(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
        assert _foreign(imports_of(ast.parse(block))) == [], block


def test_the_page_of_the_api_is_generated_from_the_code() -> None:
    assert API.PAGE.read_text("utf-8") == API.page(), "run `make docs`"


@pytest.mark.parametrize("room", API.ROOMS)
def test_public_names_are_those_of_a_front_that_exist(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__doc__
    assert PUBLIC[room] <= set(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_every_public_function_and_class_has_a_docstring() -> None:
    bare = []
    for room in API.ROOMS:
        for name in PUBLIC[room]:
            value = getattr(importlib.import_module(room), name)
            if (inspect.isclass(value) or inspect.isroutine(value)) and not value.__doc__:
                bare.append(f"{room}.{name}")
    assert bare == []


def test_the_changelog_names_every_public_name_that_came_or_went() -> None:
    before = set(BASELINE.read_text("utf-8").split())
    now = {f"{room}.{name}" for room, names in PUBLIC.items() for name in names}
    changelog = ROOT.joinpath("CHANGELOG.md").read_text("utf-8")
    unreleased = re.split("^## ", changelog, flags=re.MULTILINE)[1]
    silent = sorted(name for name in before ^ now if f"`{name}`" not in unreleased)
    assert silent == [], "name them under the changelog's first heading"
