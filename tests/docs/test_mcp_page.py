"""The page on MCP is true: its code runs, its configuration loads, its tables have every key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.pages import block, first_column, page, run_python, section
from vanta.config import McpServerConfig, load
from vanta_mcp.commands.app import app

PAGE = page("docs/mcp.md")


def test_the_table_has_every_key() -> None:
    table = re.sub(r"`, `", "` |\n| `", section(PAGE, "## A server\n"))
    assert first_column(table) == set(McpServerConfig.model_fields)


def test_its_configuration_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(block(PAGE, "toml"), "utf-8")
    servers = load(path, environ={}).config.mcp.servers
    assert {name: server.private for name, server in servers.items()} == {
        "files": True,
        "github": False,
    }
    assert json.loads(block(PAGE, "json"))["mcpServers"]["vanta"]["command"] == "vanta"


def test_its_commands_exist() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    assert names == {"list", "check", "tools", "resources", "prompts", "auth", "serve"}
    for name in names:
        assert f"vanta mcp {name}" in PAGE


def test_its_program_runs(tmp_path: Path) -> None:
    done = run_python("-c", block(PAGE, "python"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
