"""The page on tools is true: its code runs, its tables have every key and every field."""

from __future__ import annotations

import dataclasses
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import block, blocks, first_column, page, run_python, section
from vanta import Tool, ToolContext
from vanta.cli.tools.app import app
from vanta.config import Config, ToolsConfig
from vanta.tools import ToolRegistry

PAGE = page("docs/tools.md")
FUNCTIONS, TOOLSET, SUITE = blocks(PAGE, "python")


def run(code: str) -> dict[str, Any]:
    module = types.ModuleType("example")
    exec(compile(code, "docs/tools.md", "exec"), module.__dict__)  # noqa: S102
    return module.__dict__


def test_the_tables_have_every_key_and_every_field() -> None:
    keys = {name for name in ToolsConfig.model_fields if name != "options"}
    assert first_column(section(PAGE, "## `[tools]`")) - {"options"} == keys
    fields = {field.name for field in dataclasses.fields(Tool)} - {"parameters"}
    assert first_column(section(PAGE, "## What a tool says about itself")) == fields


def test_its_commands_exist() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    for name in names:
        assert f"`vanta tools {name}" in PAGE
    assert names == {"list", "show", "check", "call"}


def test_its_configuration_is_valid() -> None:
    config = Config.model_validate(tomllib.loads(block(PAGE, "toml")))
    assert (config.tools.use, config.tools.allow) == (["weather"], ["weather.*"])


@pytest.mark.anyio
async def test_its_functions_are_tools() -> None:
    registry = ToolRegistry({"home": run(FUNCTIONS)["toolset"]})
    count, light = await registry.offered()
    counted = await registry.call(count, {"text": "a b a", "least": 2}, ToolContext())
    assert counted.data == {"a": 2}
    lit = await registry.call(light, {"room": "hall", "state": "on"}, ToolContext(user="ada"))
    assert lit.text == "hall is on, for ada"
    assert (await registry.call(light, {"room": "hall", "state": "dim"}, ToolContext())).is_error


def test_its_toolset_passes_its_suite(tmp_path: Path) -> None:
    (tmp_path / "test_notes.py").write_text(f"{TOOLSET}\n\n{SUITE}", "utf-8")
    ran = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_notes.py", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "passed" in ran.stdout
