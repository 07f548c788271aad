"""Servers that are programs: how they start, what they get, how they end, and how they fail."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from tests.vanta_mcp.servers import call, fake, opened
from vanta import ToolError, Toolset
from vanta.config import McpServerConfig
from vanta.testing import ToolsetConformance
from vanta.tools import ToolRegistry

pytestmark = pytest.mark.anyio


async def test_a_servers_tools_are_listed_and_called() -> None:
    async with opened(fake()) as toolset:
        tools = {tool.name: tool for tool in await toolset.tools()}
        assert tools["echo"].description == "Return the text."
        assert tools["echo"].parameters["required"] == ["text"]
        result = await call(toolset, "echo", text="hello")
        assert (result.text, result.is_error, result.source) == ("hello", False, "MCP server made")


async def test_effects_are_believed_only_of_a_server_that_the_user_trusts() -> None:
    async def effects(**settings: Any) -> list[tuple[str, bool]]:
        async with opened(fake(**settings)) as toolset:
            tools = {tool.name: tool for tool in await toolset.tools()}
            names = ("look", "set", "echo")
            return [(tools[name].effect, tools[name].untrusted) for name in names]

    assert await effects() == [("write", True)] * 3
    trusted = [("read", False), ("idempotent", True), ("write", True)]
    assert await effects(trust=True) == trusted
    assert (await effects(effects={"echo": "read"}))[2] == ("read", True)


async def test_tools_are_offered_as_the_lists_say() -> None:
    async with opened(fake(allow_tools=["e*", "look"], deny_tools=["env"])) as toolset:
        assert [tool.name for tool in await toolset.tools()] == ["echo", "look"]
        with pytest.raises(ToolError, match="has no tool 'env'"):
            await call(toolset, "env")


async def test_a_private_server_gives_private_results() -> None:
    async with opened(fake(private=True, timeout_s=7.0)) as toolset:
        (echo, *_) = await toolset.tools()
        assert (echo.private, echo.timeout_s) == (True, 7.0)
        assert (await call(toolset, "echo", text="x")).private


async def test_a_program_gets_few_variables_and_those_of_its_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MY_TOKEN", "t0ken")
    settings = fake(env={"TOKEN": "${MY_TOKEN}", "MODE": "${NO_SUCH:-plain}"}, cwd="sub")
    tmp_path.joinpath("sub").mkdir()
    async with opened(settings, tmp_path) as toolset:
        environ = json.loads((await call(toolset, "env")).text)
    assert (environ["TOKEN"], environ["MODE"]) == ("t0ken", "plain")
    assert "OPENAI_API_KEY" not in environ
    assert environ["PATH"] == os.environ["PATH"]


async def test_a_variable_that_is_not_set_is_named() -> None:
    async with opened(fake(env={"TOKEN": "${NO_SUCH_TOKEN}"})) as toolset:
        with pytest.raises(ToolError, match=r"needs the environment variable 'NO_SUCH_TOKEN'"):
            await toolset.tools()


async def test_a_call_carries_its_idempotency_key() -> None:
    async with opened(fake()) as toolset:
        assert "k1" in (await call(toolset, "meta")).text


async def test_a_schema_of_results_is_not_checked_by_patterns_without_an_end() -> None:
    async with opened(fake()) as toolset:
        await toolset.tools()
        result = await call(toolset, "look")
        assert result.data == {"n": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}
        assert json.loads(result.text) == result.data


async def test_a_list_that_changes_is_listed_anew() -> None:
    async with opened(fake()) as toolset:
        before = await toolset.tools()
        assert await toolset.tools() == before
        await call(toolset, "change")
        after = await toolset.tools()
        assert {tool.name for tool in after} - {tool.name for tool in before} == {"new"}
        same = {tool.name: tool for tool in before}
        assert all(same.get(tool.name, tool) is tool for tool in after)


async def test_a_server_that_ends_in_a_call_is_reported_and_started_again() -> None:
    async with opened(fake()) as toolset:
        lost = await call(toolset, "crash")
        assert re.search("ended during the request.*I have to go.*its effect", lost.text)
        assert (lost.is_error, lost.is_unknown) == (True, True)
        assert (await call(toolset, "echo", text="back")).text == "back"
        assert (await call(toolset, "crash")).is_unknown
        with pytest.raises(ToolError, match=r"is off: .* It is tried again in \d+ s"):
            await call(toolset, "echo", text="too early")


async def test_a_call_that_hangs_ends_with_its_time_and_harms_no_other() -> None:
    async with opened(fake(timeout_s=60)) as toolset:
        with pytest.raises(ToolError, match="made"), anyio.fail_after(20):
            await call(toolset, "hang", seconds=0.3)


async def test_a_cancelled_call_ends_at_once() -> None:
    async with opened(fake()) as toolset:
        await toolset.tools()
        began = time.monotonic()
        with anyio.move_on_after(0.2) as scope:
            await call(toolset, "hang")
        assert scope.cancelled_caught
        assert time.monotonic() - began < 10


async def test_a_result_without_an_end_ends_the_connection_not_the_program() -> None:
    async with opened(fake()) as toolset:
        lost = await call(toolset, "big")
        assert "a message of more than 8,000,000 bytes" in lost.text
        assert (await call(toolset, "echo", text="alive")).text == "alive"


async def test_noise_on_both_outputs_is_passed_over() -> None:
    async with opened(fake()) as toolset:
        assert (await call(toolset, "flood")).text == "done"
        assert (await call(toolset, "noise")).text == "done"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (fake("dead"), "no such database"),
        (fake("mute", start_timeout_s=0.5), "did not start within 0.5 s"),
        (fake("endless"), "does not come to an end"),
        (McpServerConfig(command="no-such-program"), "cannot be started in .*No such file"),
        (McpServerConfig(command=sys.executable, cwd="/no/such/folder"), "cannot be started"),
        (McpServerConfig(command="a\0b"), "cannot be started"),
    ],
)
async def test_a_broken_server_is_off_with_its_reason_and_others_work(
    config: McpServerConfig, why: str
) -> None:
    async with opened(config) as broken, opened(fake()) as good:
        registry = ToolRegistry({"broken": broken, "good": good})
        offered = await registry.offered()
        assert {item.toolset for item in offered} == {"good"}
        assert re.search(why, registry.off["broken"])


async def test_a_schema_that_lies_leaves_out_its_tool_alone() -> None:
    async with opened(fake("lies")) as toolset:
        registry = ToolRegistry({"made": toolset})
        offered = {item.tool.name: item.tool for item in await registry.offered()}
        assert {"files_read_v2", "forged", "fine"} <= offered.keys()
        assert "made.remote" in registry.off or "remote" in offered
        assert "<|im_start|>" not in offered["forged"].description
        assert len([name for name in offered if name.startswith("files_read_v2")]) == 2


@pytest.mark.parametrize("mode", ["normal", "stubborn"])
async def test_closing_ends_the_program_and_its_children(mode: str) -> None:
    async with opened(fake(mode)) as toolset:
        pids = [int(pid) for pid in (await call(toolset, "child")).text.split()]
        assert all(map(_runs, pids))
    with anyio.fail_after(10):
        while any(map(_runs, pids)):  # noqa: ASYNC110 - the kernel takes a moment to end them
            await anyio.sleep(0.01)
    with pytest.raises(ToolError, match="closed"):
        await toolset.tools()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class TestMcpToolset(ToolsetConformance):
    """A server's toolset passes the suite that a stranger's must pass."""

    calls: ClassVar[Mapping[str, Mapping[str, Any]]] = {"echo": {"text": "hello"}, "look": {}}

    @pytest.fixture
    async def toolset(self) -> AsyncIterator[Toolset]:
        async with opened(fake(allow_tools=["echo", "look"], trust=True)) as toolset:
            yield toolset
