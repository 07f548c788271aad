"""A server of the newer era of the protocol: lists that change, resources and prompts."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from tests.vanta_mcp.servers import call, opened
from vanta.config import McpServerConfig

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).with_name("modern_server.py"))


async def test_a_server_of_the_newer_era_is_used_and_its_changes_are_heard() -> None:
    config = McpServerConfig(command=sys.executable, args=[SERVER], start_timeout_s=60)
    async with opened(config) as toolset:
        names = [tool.name for tool in await toolset.tools()]
        assert names == ["grow", "list_resources", "read_resource"]
        assert (await toolset.describe())["protocol"] == "2026-07-28"
        assert (await call(toolset, "grow")).text == "grown"
        with anyio.fail_after(20):
            while "new" not in {tool.name for tool in await toolset.tools()}:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert (await call(toolset, "new")).text == "new"
        read = await call(toolset, "read_resource", uri="note://one")
        assert (read.text, read.source) == ("the note", "note://one")
        assert "note://one" in (await call(toolset, "list_resources")).text
        assert await toolset.reading.prompt("greet", {"name": "Ada"}) == "user: Greet Ada."
