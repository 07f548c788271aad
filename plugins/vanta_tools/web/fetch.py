"""The toolset `fetch`: the text of a page, by its URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from pydantic import Field

from vanta import ToolContext, ToolResult, ToolsetContext, UnreadableDocument
from vanta.text import printable
from vanta_tools.actions import (
    ActionToolset,
    CorrectableError,
    ToolArguments,
    ToolOptions,
    action,
    seconds_left,
)
from vanta_tools.extraction import SUFFIXES, ExtractedText, extract_text
from vanta_tools.web.addresses import MAX_URL_CHARACTERS, parse_url

if TYPE_CHECKING:
    from vanta_tools.web.client import GuardedClient, WebResponse

ACCEPTED = (
    "text/",
    "application/json",
    "application/ld+json",
    "application/pdf",
    "application/xhtml+xml",
    "application/xml",
    "application/atom+xml",
    "application/rss+xml",
    "application/javascript",
    "application/yaml",
)
"""Content types whose text is returned; a server that names none is taken at its bytes."""

MAX_ERROR_CHARACTERS = 500


class FetchOptions(ToolOptions):
    """Options of the toolset `fetch`."""

    ports: tuple[int, ...] = Field(default=(80, 443), description="The ports of public hosts.")
    inside: tuple[str, ...] = Field(
        default=(), description="Hosts, each with or without a port, that need not be public."
    )
    cross_hosts: bool = Field(
        default=False,
        description="Whether redirects to another host are followed without a new call.",
    )
    max_bytes: int = Field(default=4_000_000, ge=1000, le=64_000_000)
    timeout_s: float = Field(default=20.0, gt=0, le=300, allow_inf_nan=False)


class FetchArguments(ToolArguments):
    """Arguments of `fetch`."""

    url: str = Field(
        max_length=MAX_URL_CHARACTERS, description="The URL, with http:// or https://."
    )


class FetchToolset(ActionToolset):
    """Returns the text of pages.

    :param options: the toolset's options.
    :param client: the client that requests them.
    """

    def __init__(self, options: FetchOptions, client: GuardedClient) -> None:
        self._options = options
        self._client = client
        fetch = action(
            "fetch",
            "Return the text of a web page, a text file or a PDF.",
            FetchArguments,
            self._fetch,
            effect="read",
            private=False,
            untrusted=True,
            timeout_s=options.timeout_s + 1.0,
        )
        super().__init__("fetch", [fetch])

    async def _fetch(self, arguments: FetchArguments, context: ToolContext) -> ToolResult:
        url = parse_url(arguments.url)
        if not re.split(r"[/?#]", arguments.url.partition("://")[2], maxsplit=1)[0].isascii():
            # A rule that denies or allows a host must not depend on how its name is spelled.
            raise CorrectableError(f"Write the host in ASCII: {str(url)!r}.")
        timeout_s = seconds_left(context, self._options.timeout_s)
        try:
            with anyio.fail_after(timeout_s):
                response = await self._client.get(url, accept=ACCEPTED)
                return await _result_of(response)
        except TimeoutError:
            raise CorrectableError(
                f"{str(url)!r} was not read within {timeout_s:.3g} seconds."
            ) from None


def create_fetch(options: FetchOptions, _context: ToolsetContext) -> FetchToolset:
    """Return the toolset for a runtime."""
    from vanta_tools.web.client import GuardedClient, WebRules

    rules = WebRules(
        frozenset(options.ports),
        lower_hosts(options.inside),
        options.max_bytes,
        options.cross_hosts,
    )
    return FetchToolset(options, GuardedClient(rules))


def lower_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """Return the names of hosts as URLs have them.

    :param hosts: the names.
    """
    return frozenset(host.strip().lower().rstrip(".") for host in hosts)


async def _result_of(response: WebResponse) -> ToolResult:
    url = str(response.url)
    if response.leads_to is not None:
        target = str(response.leads_to)
        return ToolResult(
            f"{url} leads to another host: {target}. Fetch that URL to read it.",
            data={"status": response.status, "leads_to": target},
            source=url,
        )
    suffix = SUFFIXES.get(response.content_type, "" if not response.content_type else ".txt")
    try:
        work = partial(extract_text, response.body, suffix)
        page = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except UnreadableDocument as error:
        page, problem = ExtractedText(""), str(error)
    else:
        problem = ""
    text = printable(page.text)
    if response.status >= 400:
        text = f"HTTP status {response.status}. {text[:MAX_ERROR_CHARACTERS]}".strip()
        return ToolResult(text, data={"status": response.status}, is_error=True, source=url)
    if problem:
        return ToolResult(f"{url} has no readable text: {problem}", is_error=True, source=url)
    title = " ".join(printable(page.title).split())
    head = f"Title: {title}\n\n" if title else ""
    notes = [*page.notes, *(["the end is cut: it is too long"] if response.is_cut else [])]
    tail = "".join(f"\n[{note}]" for note in notes)
    return ToolResult(f"{head}{text or '(no text)'}{tail}", source=url)
