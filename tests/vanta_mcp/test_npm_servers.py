"""The protocol's own reference server and conformance scenarios, from npm."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.vanta_mcp.npm import npm_package
from tests.vanta_mcp.servers import call, opened
from vanta import ToolContext
from vanta.config import McpServerConfig
from vanta.tools import ToolRegistry
from vanta_mcp.client.toolset import McpToolset

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

EVERYTHING = "@modelcontextprotocol/server-everything"
CONFORMANCE = "@modelcontextprotocol/conformance"
SCENARIOS = {
    "vanta": ["tools_call", "elicitation-sep1034-client-defaults", "auth/metadata-default"],
    "sdk": ["auth/metadata-default"],
}
"""The scenarios that the suite runs; `docs/mcp.md` has the result of all of them."""


@asynccontextmanager
async def over_stdio() -> AsyncIterator[McpToolset]:
    script = str(npm_package(EVERYTHING) / "dist" / "index.js")
    config = McpServerConfig(command="node", args=[script, "stdio"], start_timeout_s=60)
    async with opened(config) as toolset:
        yield toolset


@asynccontextmanager
async def over_http() -> AsyncIterator[McpToolset]:
    script = str(npm_package(EVERYTHING) / "dist" / "index.js")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with await anyio.open_process(
        ["node", script, "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            with anyio.fail_after(60):
                assert process.stderr is not None
                said = b""
                while b"listening" not in said:
                    said += await process.stderr.receive()
            async with opened(McpServerConfig(url=f"http://127.0.0.1:{port}/mcp")) as toolset:
                yield toolset
        finally:
            process.kill()


@pytest.mark.parametrize("reach", [over_stdio, over_http], ids=["stdio", "http"])
async def test_everything_is_used(reach: object) -> None:
    async with reach() as toolset:  # type: ignore[operator]
        registry = ToolRegistry({"everything": toolset})
        names = {item.tool.name for item in await registry.offered()}
        assert registry.off == {}
        assert {"echo", "get-sum", "list_resources", "read_resource"} <= names
        assert (await call(toolset, "echo", message="hi")).text == "Echo: hi"
        assert "5" in (await call(toolset, "get-sum", a=2, b=3)).text
        weather = await call(toolset, "get-structured-content", location="Chicago")
        assert set(weather.data) == {"temperature", "conditions", "humidity"}
        (image,) = (await call(toolset, "get-tiny-image")).images
        assert image.media_type == "image/png"
        assert "resource" in (await call(toolset, "get-resource-links", count=2)).text
        resources = await toolset.reading.resources()
        text = await toolset.reading.read(resources[0]["uri"])
        assert text
        prompts = {item["name"]: item["arguments"] for item in await toolset.reading.prompts()}
        assert prompts["args-prompt"] == ["city", "state"]
        filled = await toolset.reading.prompt("args-prompt", {"city": "Rome"})
        assert "Rome" in filled


async def test_everything_asks_a_person() -> None:
    questions: list[str] = []

    async def person(question: str, choices: Sequence[str]) -> str | None:
        questions.append(question)
        if len(questions) == 1:
            return "Ada"
        return choices[0] if choices else None

    async with over_stdio() as toolset:
        await toolset.tools()
        context = ToolContext(ends_at=anyio.current_time() + 30, ask=person)
        result = await toolset.call("trigger-elicitation-request", {}, context)
    assert questions[0].startswith("The server 'made' asks: ")
    assert "Ada" in result.text


@pytest.mark.parametrize("who", SCENARIOS)
async def test_the_scenarios_of_clients_pass(who: str, tmp_path: Path) -> None:
    script = npm_package(CONFORMANCE) / "dist" / "index.js"
    client = f"{sys.executable} -W ignore -m tests.vanta_mcp.conformance_client {who}"
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "plugins"), os.environ.get("PYTHONPATH", "")])
    failed = {}
    for scenario in SCENARIOS[who]:
        done = await anyio.run_process(
            ["node", str(script), "client", "--command", client, "--scenario", scenario],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            failed[scenario] = _failures(done.stdout.decode())
    assert failed == {}


def _failures(output: str) -> str:
    lines = [line for line in output.splitlines() if re.search("fail|error", line, re.IGNORECASE)]
    return json.dumps(lines[-10:])
