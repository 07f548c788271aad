"""vanta as an MCP server: what clients may call, under which rules, and who is asked."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp_types import ElicitResult

import vanta
from tests.runtime.home import open_scripted
from tests.vanta_mcp.servers import call, opened
from vanta import ApprovalRequest, GenerationRequest, ToolError
from vanta.config import McpServerConfig
from vanta.testing import CallTool, ScriptedEngine
from vanta_mcp.server.desk import ServerDesk
from vanta_mcp.server.protocol import ProtocolHandlers, sdk_server, serve_http
from vanta_mcp.server.work import WaitingRoom

pytestmark = pytest.mark.anyio

ERAS = ["legacy", "auto"]


class Lamp:
    """Tools with and without an effect."""

    def __init__(self) -> None:
        self.states: list[str] = []

    @vanta.tool
    async def switch(self, state: str) -> str:
        """Switch the lamp."""
        self.states.append(state)
        return f"It is {state}."

    @vanta.tool(effect="read", private=True)
    async def diary(self) -> vanta.ToolResult:
        """Read the diary."""
        return vanta.ToolResult("Dear diary", private=True)


def engine() -> ScriptedEngine:
    def reply(request: GenerationRequest) -> list[Any]:
        results = [item.content for item in request.messages if item.role == "tool"]
        if results:
            return [f"Done: {results[-1]}"]
        said = request.messages[-1].content
        return [CallTool("switch", '{"state": "on"}')] if "lamp" in said else ["Good morning."]

    return ScriptedEngine(reply=reply)


@asynccontextmanager
async def desk(
    folder: Path, lamp: Lamp, *, private: bool = False, **tools: Any
) -> AsyncIterator[ServerDesk]:
    """Yield the desk of a runtime with the lamp."""
    desks: list[ServerDesk] = []

    async def approve(request: ApprovalRequest) -> Any:
        return await desks[0].approve(request)

    async with open_scripted(
        folder,
        local=engine(),
        policy="local",
        own_tools=[lamp.switch, lamp.diary],
        tools={"use": ["memory"], **tools},
        approve=approve,
    ) as runtime:
        made = ServerDesk(runtime, "ada", private=private, model_tools=["program"])
        desks.append(made)
        yield made


@asynccontextmanager
async def client(made: ServerDesk, era: str, answer: Any = None) -> AsyncIterator[Client]:
    """Yield the SDK's client, connected to a desk; `answer` answers its questions."""
    async with anyio.create_task_group() as tasks:
        server = sdk_server(ProtocolHandlers(made, WaitingRoom(tasks)))
        async with Client(server, mode=era, elicitation_callback=answer) as connected:
            yield connected
        tasks.cancel_scope.cancel()


def text(result: Any) -> str:
    return "".join(block.text for block in result.content)


def answering(questions: list[str], content: dict[str, Any] | None) -> Any:
    """Return a callback that keeps questions and gives one answer; None declines."""

    async def answer(_context: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        action: Any = "decline" if content is None else "accept"
        return ElicitResult(action=action, content=content)

    return answer


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_asks_remembers_and_calls(era: str, tmp_path: Path) -> None:
    lamp = Lamp()
    async with (
        desk(tmp_path, lamp, allow=["memory.*"]) as made,
        client(made, era) as connected,
    ):
        tools = {tool.name: tool for tool in (await connected.list_tools()).tools}
        assert {"ask", "switch", "diary", "memory_search", "memory_remember"} == set(tools)
        assert tools["diary"].annotations is not None
        assert tools["diary"].annotations.read_only_hint is True
        assert text(await connected.call_tool("ask", {"text": "Hello"})) == "Good morning."
        noted = await connected.call_tool("memory_remember", {"text": "Ada has a dog."})
        assert "Noted" in text(noted)
        found = await connected.call_tool("memory_search", {"query": "dog"})
        assert "Ada has a dog." in text(found)
        assert text(await connected.call_tool("switch", {"state": "on"})) == "It is on."
        wrong = await connected.call_tool("switch", {"stat": "on"})
        assert (wrong.is_error, "Did you mean 'state'" in text(wrong)) == (True, True)
        unknown = await connected.call_tool("swich", {})
        assert "Did you mean 'switch'" in text(unknown)


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_rule_asks_becomes_a_question_at_the_client(era: str, tmp_path: Path) -> None:
    lamp = Lamp()
    questions: list[str] = []
    async with desk(tmp_path, lamp, ask=["program.switch"]) as made:
        async with client(made, era, answering(questions, {"approve": True})) as connected:
            result = await connected.call_tool("switch", {"state": "on"})
            assert text(result) == "It is on."
            reply = await connected.call_tool("ask", {"text": "Switch the lamp on."})
            assert "It is on." in text(reply)
        async with client(made, era, answering(questions, {"approve": False})) as connected:
            assert (await connected.call_tool("switch", {"state": "off"})).is_error
        async with client(made, era, answering(questions, None)) as connected:
            denied = await connected.call_tool("switch", {"state": "off"})
            assert "A person denied it" in text(denied)
    assert lamp.states == ["on", "on"]
    assert len(questions) == 4
    assert "Run program.switch (write)?" in questions[0]
    assert '"state": "on"' in questions[0]


@pytest.mark.parametrize("era", ERAS)
async def test_without_a_person_the_rule_is_named(era: str, tmp_path: Path) -> None:
    lamp = Lamp()
    async with (
        desk(tmp_path, lamp, ask=["program.switch"], deny=["memory.remember"]) as made,
        client(made, era) as connected,
    ):
        result = await connected.call_tool("switch", {"state": "on"})
        assert "needs a person's approval (tools.ask 'program.switch')" in text(result)
        reply = await connected.call_tool("ask", {"text": "Switch the lamp on."})
        assert "needs a person's approval" in text(reply)
        denied = await connected.call_tool("memory_remember", {"text": "x"})
        assert "tools.deny 'memory.remember'" in text(denied)
    assert lamp.states == []


async def test_private_results_reach_private_clients_alone(tmp_path: Path) -> None:
    async with desk(tmp_path / "a", Lamp()) as made, client(made, "auto") as connected:
        assert "Dear diary" not in text(await connected.call_tool("diary", {}))
    async with (
        desk(tmp_path / "b", Lamp(), private=True) as made,
        client(made, "auto") as connected,
    ):
        assert text(await connected.call_tool("diary", {})) == "Dear diary"


async def test_an_answer_of_another_client_runs_nothing(tmp_path: Path) -> None:
    lamp = Lamp()
    async with (
        desk(tmp_path, lamp, ask=["program.switch"]) as made,
        client(made, "auto") as connected,
    ):
        stolen = await connected.session.call_tool(
            "switch", {"state": "on"}, request_state="guessed", allow_input_required=True
        )
        assert "does not wait for an answer" in text(stolen)
    assert lamp.states == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_http_serves_this_machine_with_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    assert anyio_backend == "asyncio"
    monkeypatch.setenv("MY_TOKEN", "t0ken")
    monkeypatch.setenv("BAD_TOKEN", "other")
    async with desk(tmp_path, Lamp()) as made, anyio.create_task_group() as tasks:
        urls: list[str] = []
        ready = anyio.Event()

        def started(url: str) -> None:
            urls.append(url)
            ready.set()

        async def serve() -> None:
            await serve_http(made, "127.0.0.1", 0, token="t0ken", started=started)

        tasks.start_soon(serve)
        await ready.wait()
        headers = {"Authorization": "Bearer ${MY_TOKEN}"}
        async with opened(McpServerConfig(url=urls[0], headers=headers)) as toolset:
            assert "ask" in {tool.name for tool in await toolset.tools()}
            assert (await call(toolset, "switch", state="on")).text == "It is on."
        async with httpx2.AsyncClient() as web:
            for origin in ("http://evil.example", "null"):
                sent = {"Authorization": "Bearer t0ken", "Origin": origin}
                answer = await web.post(urls[0], headers=sent, json={})
                assert answer.status_code == 403, origin
        headers = {"Authorization": "Bearer ${BAD_TOKEN}"}
        async with opened(McpServerConfig(url=urls[0], headers=headers)) as toolset:
            with pytest.raises(ToolError):
                await toolset.tools()
        tasks.cancel_scope.cancel()
    with pytest.raises(vanta.UsageError, match="is not an address of this machine alone"):
        await serve_http(made, "0.0.0.0", 0)  # noqa: S104 - it is refused


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_command_serves_over_stdio(tmp_path: Path, anyio_backend: str) -> None:
    assert anyio_backend == "asyncio"
    config = tmp_path / "mine.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/data"\n'
        'tools.use = ["calculator"]\ntools.allow = ["calculator.*"]\n'
        "tracks.local.enabled = false\n"
    )
    server = McpServerConfig(
        command=sys.executable,
        args=["-m", "vanta", "mcp", "serve", "--config", str(config)],
        env={"PYTHONPATH": "${PYTHONPATH:-}"},
        start_timeout_s=90,
    )
    async with opened(server) as toolset:
        names = {tool.name for tool in await toolset.tools()}
        assert {"ask", "calculate", "memory_search"} <= names
        assert "4" in (await call(toolset, "calculate", expression="2 + 2", seconds=60)).text
