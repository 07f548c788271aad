"""The toolset `search`: the web, through a SearXNG server or Brave's interface.

Invariant: the server is the one of the configuration, so it need not be public, and no redirect
leads away from it with the key.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import anyio
from pydantic import Field

from vanta import ToolContext, ToolError, ToolResult, ToolsetContext
from vanta.files import parse_json
from vanta.text import printable
from vanta_tools.actions import (
    ActionToolset,
    CorrectableError,
    ToolArguments,
    ToolOptions,
    action,
    seconds_left,
)
from vanta_tools.web.addresses import WebUrl, parse_url

if TYPE_CHECKING:
    from vanta_tools.web.client import GuardedClient

BRAVE_URL = "https://api.search.brave.com/res/v1/web/search"
MAX_BYTES = 4_000_000
MAX_RESULTS = 20
SNIPPET_CHARACTERS = 500

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


class SearchOptions(ToolOptions):
    """Options of the toolset `search`."""

    provider: Literal["searxng", "brave"] = Field(
        default="searxng", description="Which interface it has."
    )
    url: str = Field(default="", description="The server, such as http://127.0.0.1:8888.")
    key_env: str = Field(default="", description="The environment variable that holds the key.")
    timeout_s: float = Field(default=10.0, gt=0, le=120, allow_inf_nan=False)
    price_usd: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="What one search costs."
    )


class WebSearchArguments(ToolArguments):
    """Arguments of `web_search`."""

    query: str = Field(min_length=1, max_length=400, description="What to search for.")
    limit: int = Field(default=8, ge=1, le=MAX_RESULTS, description="How many results to return.")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One result of a search.

    :param title: its title.
    :param url: where it is.
    :param snippet: words of the page.
    """

    title: str
    url: str
    snippet: str


class SearchToolset(ActionToolset):
    """Searches the web through one server.

    :param options: the toolset's options.
    :param client: the client that requests the server.
    :param environ: where the key is.
    :ivar client: the same client.
    """

    def __init__(
        self,
        options: SearchOptions,
        client: GuardedClient,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._options = options
        self.client = client
        self._environ = environ
        search = action(
            "web_search",
            "Search the web. Returns titles, URLs and snippets; read a page with its URL.",
            WebSearchArguments,
            self._search,
            effect="read",
            private=False,
            untrusted=True,
            timeout_s=options.timeout_s + 1.0,
            price_usd=options.price_usd,
        )
        super().__init__("search", [search])

    async def _search(self, arguments: WebSearchArguments, context: ToolContext) -> ToolResult:
        url, headers = self._request_of(arguments)
        try:
            with anyio.fail_after(seconds_left(context, self._options.timeout_s)):
                response = await self.client.get(
                    url, accept=("application/json", "text/"), headers=headers
                )
        except TimeoutError:
            raise ToolError(f"the search server {url.netloc!r} did not answer in time.") from None
        except CorrectableError as error:
            raise ToolError(str(error)) from error
        if response.status != 200:
            hint = _HINTS.get(response.status, "Check tools.options.search.")
            raise ToolError(
                f"the search server {url.netloc!r} answered with status {response.status}. {hint}"
            )
        hits = read_hits(response.body)[: arguments.limit]
        lines = [
            f"{place}. {hit.title}\n{hit.url}\n{hit.snippet}".rstrip()
            for place, hit in enumerate(hits, 1)
        ]
        data = [{"title": hit.title, "url": hit.url, "snippet": hit.snippet} for hit in hits]
        return ToolResult("\n\n".join(lines) or "(no results)", data=data, source=url.netloc)

    def _request_of(self, arguments: WebSearchArguments) -> tuple[WebUrl, dict[str, str]]:
        key = self._environ.get(self._options.key_env, "").strip() if self._options.key_env else ""
        if not (key.isascii() and (key.isprintable() and " " not in key)):
            # The client would quote it in its error.
            raise ToolError(
                f"the variable {self._options.key_env!r} does not hold a key: it has characters "
                "that no header can have."
            )
        server = _server_url(self._options)
        headers = {"Accept": "application/json"}
        query: dict[str, Any] = {"q": arguments.query}
        if self._options.provider == "brave":
            headers["X-Subscription-Token"] = key
            query["count"] = arguments.limit
        else:
            query["format"] = "json"
            if key:
                headers["Authorization"] = f"Bearer {key}"
        mark = "&" if "?" in server else "?"
        return parse_url(f"{server}{mark}{urlencode(query)}"), headers


_HINTS = {
    401: "Check the key that tools.options.search.key_env names.",
    403: "Check the key; a SearXNG server must have 'json' among its formats.",
    429: "It allows no more searches now: try again later.",
}


def create_search(options: SearchOptions, _context: ToolsetContext) -> SearchToolset:
    """Return the toolset for a runtime."""
    from vanta_tools.web.client import GuardedClient, WebRules

    server = parse_url(_server_url(options))
    rules = WebRules(frozenset({server.port}), frozenset({server.host}), MAX_BYTES)
    return SearchToolset(options, GuardedClient(rules))


def why_search_off(options: SearchOptions) -> str | None:
    """Return why the toolset cannot be used, or None."""
    if options.provider == "searxng" and not options.url:
        return "no server is named: set tools.options.search.url."
    if options.provider == "brave" and not os.environ.get(options.key_env, ""):
        named = f"the variable {options.key_env!r} is not set" if options.key_env else "it has none"
        return f"Brave needs a key, and {named}: see tools.options.search.key_env."
    try:
        parse_url(_server_url(options))
    except CorrectableError as error:
        return f"tools.options.search.url is wrong. {error}"
    return None


def read_hits(body: bytes) -> list[SearchHit]:
    """Return the results in an answer of SearXNG or Brave.

    :param body: the answer, JSON.
    :raises ToolError: if it is not such an answer.
    """
    try:
        answer = parse_json(body)
    except ValueError as error:
        raise ToolError(f"the search server's answer is not JSON: {error}.") from error
    inner = answer.get("web", answer) if isinstance(answer, dict) else None
    items = inner.get("results") if isinstance(inner, dict) else None
    if items is None and isinstance(answer, dict) and "query" in answer:
        items = []  # Brave leaves out what it has not found
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ToolError("the search server's answer has no list of results.")
    return [hit for hit in map(_hit, items[:MAX_RESULTS]) if hit is not None]


def _hit(item: object) -> SearchHit | None:
    if not isinstance(item, Mapping):
        return None
    try:
        url = str(parse_url(str(item.get("url", ""))))
    except CorrectableError:
        return None
    snippet = _plain(item.get("content") or item.get("description"))
    return SearchHit(_plain(item.get("title")) or url, url, snippet)


def _plain(value: object) -> str:
    text = html.unescape(_TAG.sub("", value if isinstance(value, str) else ""))
    return " ".join(printable(text).split())[:SNIPPET_CHARACTERS]


def _server_url(options: SearchOptions) -> str:
    server = options.url.rstrip("/")
    if options.provider == "brave":
        return server or BRAVE_URL
    return server if server.endswith("/search") else f"{server}/search"
