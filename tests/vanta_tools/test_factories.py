"""The built-in toolsets as the configuration turns them on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vanta import ConfigError, Toolset
from vanta.tools import open_toolsets
from vanta_tools import vanta_toolsets

FACTORIES = {factory.name: factory for factory in vanta_toolsets()}


def opened(
    folder: Path, use: list[str], **options: dict[str, Any]
) -> tuple[dict[str, Toolset], dict[str, str]]:
    return open_toolsets(
        use, FACTORIES, options, data_dir=folder, project=folder, hint=lambda _: "pip install x"
    )


def test_each_toolset_is_off_until_it_is_named(tmp_path: Path) -> None:
    assert opened(tmp_path, []) == ({}, {})
    toolsets, off = opened(tmp_path, list(FACTORIES))
    assert set(toolsets) == {"clock", "calculator", "files", "fetch", "memory", "ask_user"}
    assert set(off) == {"search", "command"}
    assert all(name in why for name, why in off.items())


def test_an_unknown_option_is_an_error_that_names_it(tmp_path: Path) -> None:
    for name in FACTORIES:
        with pytest.raises(ConfigError, match="unheard"):
            opened(tmp_path, [name], **{name: {"unheard": 1}})


@pytest.mark.anyio
async def test_every_tool_has_a_valid_schema_and_a_description(tmp_path: Path) -> None:
    options: dict[str, dict[str, Any]] = {
        "files": {"write": True},
        "memory": {"forget": True},
        "search": {"url": "http://127.0.0.1:1"},
        "command": {"programs": {"git": {"first": ["status"]}}},
    }
    toolsets, off = opened(tmp_path, list(FACTORIES), **options)
    assert off == {}
    names = []
    for name, toolset in toolsets.items():
        assert toolset.name == name
        for tool in await toolset.tools():
            names.append(tool.name)
            jsonschema.Draft202012Validator.check_schema(tool.parameters)
            assert tool.parameters["type"] == "object"
            assert "title" not in json.dumps(tool.parameters)
            assert tool.description.endswith(".")
        await toolset.aclose()
    assert len(names) == 16
