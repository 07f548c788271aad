"""Servers over HTTP: what is sent to them, and what is not believed, read or followed."""

from __future__ import annotations

import anyio
import pytest

from tests.vanta_mcp.servers import call, opened
from tests.vanta_mcp.web_servers import serving
from vanta import ToolError
from vanta.config import McpServerConfig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("mode", ["normal", "events"])
async def test_a_server_over_http_is_listed_and_called(mode: str) -> None:
    with serving(mode) as web:
        async with opened(McpServerConfig(url=web.url)) as toolset:
            assert [tool.name for tool in await toolset.tools()] == ["echo"]
            assert (await call(toolset, "echo", text="hello")).text == "hello"
            about = await toolset.describe()
            assert (about["server"], about["protocol"]) == ("web 1", "2025-11-25")


async def test_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_TOKEN", "t0ken")
    with serving() as web:
        config = McpServerConfig(
            url=web.url, headers={"Authorization": "Bearer ${WEB_TOKEN}", "X-Team": "blue"}
        )
        async with opened(config) as toolset:
            await toolset.tools()
    sent = [headers for _, _, headers in web.requests]
    assert all(headers["Authorization"] == "Bearer t0ken" for headers in sent)
    assert all(headers["X-Team"] == "blue" for headers in sent)
    assert all(headers["Accept-Encoding"] == "identity" for headers in sent)


async def test_a_header_with_a_line_break_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_TOKEN", "t0ken\r\nX-Evil: 1")
    with serving() as web:
        async with opened(McpServerConfig(url=web.url, headers={"X-Key": "${WEB_TOKEN}"})) as made:
            with pytest.raises(ToolError, match="the header 'X-Key'"):
                await made.tools()
    assert web.requests == []


async def test_no_redirect_is_followed() -> None:
    with serving() as other, serving("redirect", other.url) as web:
        async with opened(McpServerConfig(url=web.url)) as toolset:
            with pytest.raises(ToolError, match=r"redirects to .* which is not followed"):
                await toolset.tools()
        assert other.requests == []
    with serving("redirect", "/elsewhere") as web:
        async with opened(McpServerConfig(url=web.url)) as toolset:
            with pytest.raises(ToolError, match="which is not followed"):
                await toolset.tools()
        assert {path for _, path, _ in web.requests} == {"/mcp"}


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("broken", "HTTP status 503"),
        ("login", "asks for a login. Run: vanta mcp auth made"),
        ("page", "Unexpected content type: text/html"),
        ("garbage", "Failed to parse JSON response"),
        ("gzip", "compresses its answer"),
        ("headers", "more than 200 headers"),
    ],
)
async def test_a_server_that_answers_something_else_is_off_with_the_reason(
    mode: str, why: str
) -> None:
    with serving(mode) as web:
        async with opened(McpServerConfig(url=web.url)) as toolset:
            with pytest.raises(ToolError, match=why):
                await toolset.tools()


async def test_a_result_of_20_mb_is_an_error_and_the_connection_stays() -> None:
    with serving("huge") as web:
        async with opened(McpServerConfig(url=web.url)) as toolset:
            with pytest.raises(ToolError, match="more than 8,000,000 bytes"):
                await call(toolset, "echo")
            assert [tool.name for tool in await toolset.tools()] == ["echo"]


async def test_a_call_that_hangs_ends_with_its_time() -> None:
    with serving("hang") as web:
        async with opened(McpServerConfig(url=web.url)) as toolset:
            await toolset.tools()
            with pytest.raises(ToolError), anyio.fail_after(20):
                await call(toolset, "echo", seconds=0.3)
            assert [tool.name for tool in await toolset.tools()] == ["echo"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://a.example/", "is not an http or https URL"),
        ("http://", "is not an http or https URL"),
        ("http://[::1", "is not an http or https URL"),
        ("http://127.0.0.1:1/mcp", "is off: "),
        ("http://no-such-host.invalid/mcp", "is off: "),
    ],
)
async def test_a_url_that_leads_nowhere_is_a_reason(url: str, why: str) -> None:
    async with opened(McpServerConfig(url=url)) as toolset:
        with pytest.raises(ToolError, match=why):
            await toolset.tools()


async def test_a_private_server_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy, serving() as web:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with opened(McpServerConfig(url=web.url, private=True)) as toolset:
            await toolset.tools()
        assert proxy.requests == []
        async with opened(McpServerConfig(url="http://far.example/mcp")) as toolset:
            await toolset.tools()
        assert {path for _, path, _ in proxy.requests} == {"http://far.example/mcp"}
