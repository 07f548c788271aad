"""The tools `fetch` and `web_search`: text out of pages, within bounds."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import anyio
import httpcore2
import pytest

from tests.vanta_tools.pages import PageServer, serve_pages
from vanta import ToolContext, ToolError, ToolResult, ToolsetContext
from vanta_tools.web.client import GuardedClient, WebRules
from vanta_tools.web.fetch import FetchOptions, FetchToolset, create_fetch
from vanta_tools.web.search import SearchOptions, SearchToolset, create_search, why_search_off

CONTEXT = ToolsetContext(Path("data"), Path("project"))
HTML = {"Content-Type": "text/html; charset=utf-8"}


async def fetch(pages: PageServer, path: str, **options: Any) -> ToolResult:
    host = f"127.0.0.1:{pages.port}"
    toolset = create_fetch(FetchOptions(inside=(host,), **options), CONTEXT)
    return await toolset.call("fetch", {"url": f"http://{host}{path}"}, ToolContext())


@pytest.mark.anyio
async def test_the_text_of_a_page_comes_without_its_scripts(pages: PageServer) -> None:
    page = (
        "<!doctype html><html><head><title>A  guide</title><script>evil()</script></head>"
        "<body><h1>Guide</h1><p>First &amp; last.</p><style>p{}</style></body></html>"
    )
    pages.add("/", body=page, headers=HTML)
    result = await fetch(pages, "/")
    assert result.text == "Title: A guide\n\n# Guide\n\nFirst & last."
    assert result.source == f"http://127.0.0.1:{pages.port}/"


@pytest.mark.anyio
async def test_fetch_reads_is_not_private_and_is_written_by_others() -> None:
    (tool,) = await create_fetch(FetchOptions(), CONTEXT).tools()
    assert (tool.effect, tool.private, tool.untrusted) == ("read", False, True)
    assert tool.parameters["required"] == ["url"]


@pytest.mark.anyio
async def test_a_long_body_is_cut(pages: PageServer) -> None:
    pages.add("/", body="x" * 5000)
    result = await fetch(pages, "/", max_bytes=1000)
    assert result.text == "x" * 1000 + "\n[the end is cut: it is too long]"


@pytest.mark.anyio
async def test_a_compressed_body_is_bounded_by_what_it_expands_to(pages: PageServer) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    pages.add("/", body=bomb, headers={"Content-Encoding": "gzip"})
    result = await fetch(pages, "/", max_bytes=2000)
    assert result.text.startswith("0" * 2000 + "\n[")


@pytest.mark.anyio
async def test_a_compressed_page_is_read(pages: PageServer) -> None:
    pages.add("/", body=gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"})
    assert (await fetch(pages, "/")).text == "hello"


@pytest.mark.anyio
@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "deflate"])
async def test_another_compression_is_refused(pages: PageServer, coding: str) -> None:
    pages.add("/", body=b"x", headers={"Content-Encoding": coding})
    result = await fetch(pages, "/")
    assert result.is_error
    assert "compressed" in result.text


@pytest.mark.anyio
async def test_broken_gzip_is_an_error(pages: PageServer) -> None:
    pages.add("/", body=b"not gzip", headers={"Content-Encoding": "gzip"})
    assert "not valid gzip" in (await fetch(pages, "/")).text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content_type", ["image/png", "application/octet-stream", "video/mp4", "application/zip"]
)
async def test_what_is_not_text_is_not_read(pages: PageServer, content_type: str) -> None:
    pages.add("/", body=b"x", headers={"Content-Type": content_type})
    result = await fetch(pages, "/")
    assert result.is_error
    assert content_type in result.text


@pytest.mark.anyio
async def test_binary_data_that_claims_to_be_text_has_no_text(pages: PageServer) -> None:
    pages.add("/", body=bytes(range(256)) * 10)
    result = await fetch(pages, "/")
    assert result.is_error
    assert "no readable text" in result.text


@pytest.mark.anyio
async def test_an_empty_page_is_empty(pages: PageServer) -> None:
    pages.add("/", body="")
    result = await fetch(pages, "/")
    assert (result.text, result.is_error) == ("(no text)", False)


@pytest.mark.anyio
async def test_an_error_page_is_an_error_with_its_status(pages: PageServer) -> None:
    result = await fetch(pages, "/missing")
    assert result.is_error
    assert "404" in result.text
    assert result.data == {"status": 404}


@pytest.mark.anyio
async def test_redirects_are_followed_on_the_same_host_up_to_a_limit(pages: PageServer) -> None:
    pages.add("/a", status=301, headers={"Location": "b"})
    pages.add("/b", status=307, headers={"Location": "/c?d=1"})
    pages.add("/c", body="there")
    pages.add("/loop", status=302, headers={"Location": "/loop"})
    assert (await fetch(pages, "/a")).text == "there"
    result = await fetch(pages, "/loop")
    assert result.is_error
    assert "5 redirects" in result.text


@pytest.mark.anyio
async def test_a_body_without_an_end_ends_at_the_timeout(pages: PageServer) -> None:
    leave = threading.Event()

    def drip(file: Any) -> None:
        while not leave.wait(0.01):
            file.write(b".")
            file.flush()

    pages.add("/", stream=drip)
    try:
        result = await fetch(pages, "/", timeout_s=0.5)
    finally:
        leave.set()
    assert result.is_error
    assert "0.5 seconds" in result.text


@pytest.mark.anyio
async def test_an_answer_that_goes_on_beside_its_body_is_refused(pages: PageServer) -> None:
    def one_by_one(file: Any) -> None:
        while True:
            file.write(b"1;" + b"y" * 200 + b"\r\nx\r\n")

    pages.add("/", stream=one_by_one, headers={"Transfer-Encoding": "chunked"})
    result = await fetch(pages, "/", max_bytes=10_000, timeout_s=60)
    assert result.is_error
    assert "does not come to an end" in result.text


@pytest.mark.anyio
async def test_a_call_ends_before_the_turn_does(pages: PageServer) -> None:
    leave = threading.Event()
    pages.add("/", stream=lambda _file: leave.wait(20))
    host = f"127.0.0.1:{pages.port}"
    toolset = create_fetch(FetchOptions(inside=(host,)), CONTEXT)
    try:
        with anyio.fail_after(10):
            context = ToolContext(ends_at=anyio.current_time() + 0.5)
            result = await toolset.call("fetch", {"url": f"http://{host}/"}, context)
    finally:
        leave.set()
    assert result.is_error


@pytest.mark.anyio
async def test_nothing_is_sent_but_the_request(pages: PageServer) -> None:
    pages.add("/a", status=302, headers={"Location": "/b", "Set-Cookie": "a=b"})
    pages.add("/b", body="x")
    await fetch(pages, "/a")
    sent = {name.lower() for request in pages.requests for name in request.headers}
    assert sent == {"host", "user-agent", "accept", "accept-encoding", "connection"}


@pytest.mark.anyio
async def test_a_server_without_tls_or_without_an_answer_is_an_error(pages: PageServer) -> None:
    host = f"127.0.0.1:{pages.port}"
    toolset = create_fetch(FetchOptions(inside=("127.0.0.1",)), CONTEXT)
    for url in (f"https://{host}/", "http://127.0.0.1:1/"):
        result = await toolset.call("fetch", {"url": url}, ToolContext())
        assert result.is_error
        assert "cannot be read" in result.text


@pytest.mark.anyio
async def test_characters_that_steer_a_terminal_are_replaced(pages: PageServer) -> None:
    pages.add("/", body="a\x1b[2Jb")
    assert "\x1b" not in (await fetch(pages, "/")).text


@pytest.mark.anyio
async def test_a_port_is_public_only_if_it_is_listed() -> None:
    toolset = create_fetch(FetchOptions(ports=(443,)), CONTEXT)
    result = await toolset.call("fetch", {"url": "http://public.example/"}, ToolContext())
    assert "its port is not one of 443" in result.text


@pytest.mark.anyio
async def test_redirects_to_another_host_are_followed_on_request(pages: PageServer) -> None:
    there = f"http://localhost:{pages.port}/b"
    pages.add("/a", status=302, headers={"Location": there})
    pages.add("/b", body="there")
    hosts = (f"127.0.0.1:{pages.port}", f"localhost:{pages.port}")
    for cross_hosts, text in ((True, "there"), (False, "Fetch that URL to read it.")):
        toolset = create_fetch(FetchOptions(inside=hosts, cross_hosts=cross_hosts), CONTEXT)
        result = await toolset.call("fetch", {"url": f"http://{hosts[0]}/a"}, ToolContext())
        assert result.text.endswith(text)


# Searching.


async def search(pages: PageServer, options: SearchOptions, **environ: str) -> ToolResult:
    made = create_search(options, CONTEXT)
    toolset = SearchToolset(options, made.client, environ)
    arguments = {"query": "cats & dogs", "limit": 2}
    return await toolset.call("web_search", arguments, ToolContext())


@pytest.mark.anyio
async def test_searxng_is_asked_for_json(pages: PageServer) -> None:
    results = [
        {"url": "https://a.example/x", "title": "A <b>b</b>", "content": "One &amp; two\x1b"},
        {"url": "javascript:alert(1)", "title": "bad"},
        {"url": "https://b.example/", "title": None},
        {"url": "https://c.example/", "title": "C"},
    ]
    headers = {"Content-Type": "application/json"}
    pages.add("/search", body=json.dumps({"results": results}), headers=headers)
    options = SearchOptions(url=f"http://127.0.0.1:{pages.port}", price_usd=0.01)
    result = await search(pages, options)
    assert result.text.split("\n") == [
        "1. A b",
        "https://a.example/x",
        "One & two\ufffd",
        "",
        "2. https://b.example/",
        "https://b.example/",
    ]
    assert pages.requests[0].path == "/search?q=cats+%26+dogs&format=json"
    (tool,) = await create_search(options, CONTEXT).tools()
    assert (tool.price_usd, tool.untrusted, tool.private) == (0.01, True, False)


@pytest.mark.anyio
async def test_brave_gets_its_key_and_its_results_are_read(pages: PageServer) -> None:
    results = [{"url": "https://a.example/", "title": "A", "description": "<strong>x</strong>"}]
    pages.add("/web", body=json.dumps({"query": {}, "web": {"results": results}}))
    options = SearchOptions(
        provider="brave", url=f"http://127.0.0.1:{pages.port}/web", key_env="KEY"
    )
    result = await search(pages, options, KEY="secret")
    assert result.data == [{"title": "A", "url": "https://a.example/", "snippet": "x"}]
    assert pages.requests[0].headers["X-Subscription-Token"] == "secret"
    assert pages.requests[0].path == "/web?q=cats+%26+dogs&count=2"


@pytest.mark.anyio
async def test_nothing_found_is_not_an_error(pages: PageServer) -> None:
    pages.add("/search", body=json.dumps({"query": "x", "results": []}))
    result = await search(pages, SearchOptions(url=f"http://127.0.0.1:{pages.port}"))
    assert (result.text, result.is_error) == ("(no results)", False)


@pytest.mark.anyio
@pytest.mark.parametrize("body", ["", "no json", "[]", "{}", '{"results": "x"}', "[" * 100_000])
async def test_an_answer_that_is_none_is_an_error(pages: PageServer, body: str) -> None:
    pages.add("/search", body=body)
    with pytest.raises(ToolError, match="search server's answer"):
        await search(pages, SearchOptions(url=f"http://127.0.0.1:{pages.port}"))


@pytest.mark.anyio
async def test_a_refusal_names_what_to_check(pages: PageServer) -> None:
    pages.add("/search", status=403)
    with pytest.raises(ToolError, match="403"):
        await search(pages, SearchOptions(url=f"http://127.0.0.1:{pages.port}"))


@pytest.mark.anyio
async def test_a_server_that_does_not_answer_ends_at_the_timeout(pages: PageServer) -> None:
    leave = threading.Event()
    pages.add("/search", stream=lambda _file: leave.wait(60))
    options = SearchOptions(url=f"http://127.0.0.1:{pages.port}", timeout_s=0.3)
    try:
        with anyio.fail_after(30), pytest.raises(ToolError, match="did not answer in time"):
            await search(pages, options)
    finally:
        leave.set()


@pytest.mark.anyio
@pytest.mark.parametrize("moved_to", ["http://localhost:{here}", "http://127.0.0.1:{there}"])
async def test_the_key_goes_to_no_other_origin(moved_to: str, pages: PageServer) -> None:
    with serve_pages() as others:
        location = moved_to.format(here=pages.port, there=others.port) + "/stolen"
        pages.add("/search", status=302, headers={"Location": location})
        options = SearchOptions(url=f"http://127.0.0.1:{pages.port}", key_env="KEY")
        with pytest.raises(ToolError, match="302"):
            await search(pages, options, KEY="secret")
        assert [request.path.partition("?")[0] for request in pages.requests] == ["/search"]
        assert others.requests == []


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["sec\nret", "sécret", "sec ret", "sec\x00ret"])
async def test_a_key_that_cannot_be_sent_is_not_quoted(pages: PageServer, key: str) -> None:
    options = SearchOptions(url=f"http://127.0.0.1:{pages.port}", key_env="KEY")
    with pytest.raises(ToolError, match="'KEY' does not hold a key") as caught:
        await search(pages, options, KEY=key)
    assert key not in str(caught.value)
    assert pages.requests == []


@pytest.mark.anyio
async def test_an_address_that_refuses_leaves_the_others(pages: PageServer) -> None:
    pages.add("/", body="hello")
    dialled = []

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["2606:4700::1", "93.184.215.14"]

    async def dial(address: str, _port: int) -> httpcore2.AsyncNetworkStream:
        dialled.append(address)
        if ":" in address:
            raise OSError("no route")
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", pages.port)

    toolset = FetchToolset(FetchOptions(), GuardedClient(WebRules(), resolve, dial))
    result = await toolset.call("fetch", {"url": "http://public.example/"}, ToolContext())
    assert result.text == "hello"
    assert dialled == ["2606:4700::1", "93.184.215.14"]


def test_search_is_off_without_a_server_or_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAVE", raising=False)
    assert "search.url" in (why_search_off(SearchOptions()) or "")
    assert "not set" in (why_search_off(SearchOptions(provider="brave", key_env="BRAVE")) or "")
    assert "wrong" in (why_search_off(SearchOptions(url="ftp://x")) or "")
    monkeypatch.setenv("BRAVE", "key")
    assert why_search_off(SearchOptions(provider="brave", key_env="BRAVE")) is None
    assert why_search_off(SearchOptions(url="http://127.0.0.1:8888")) is None
