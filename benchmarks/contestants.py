"""Who runs the races: vanta, a plain client of the fast server alone, and a race by headers.

Invariant: all of them use the same SDK on the same event loop, and note the same moments on
`time.monotonic()`; `asked_at` is before anything of the contestant runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import vanta
from vanta.errors import VantaError
from vanta.events import Committed, Event, TextDelta
from vanta.hookspecs import hookimpl
from vanta.runtime import Runtime

from .traps import Trap

MODEL = "test-model"


@dataclass(slots=True, kw_only=True)
class Sample:
    """One race. text: the whole answer. failure: why there is none."""

    tag: str
    asked_at: float
    first_content_at: float | None = None
    committed_at: float | None = None
    text: str = ""
    failure: str = ""


class Contestant(Protocol):
    """Something that answers a question out of two servers."""

    async def race(self, tag: str) -> Sample:
        """Ask `tag` and note what happens; never raises."""
        ...


class Watch:
    """A plugin that notes, on the clock that the servers use, when a turn was committed."""

    name = "watch"
    committed_at: float | None = None

    @hookimpl
    def vanta_observers(self) -> list[Any]:
        """The one observer."""
        return [self.note]

    def note(self, event: Event) -> None:
        """Called by the runtime at the moment of the event."""
        if isinstance(event, Committed):
            self.committed_at = time.monotonic()


class Vanta:
    """Policy `race` over both servers, through `Session.stream`."""

    def __init__(self, runtime: Runtime, watch: Watch) -> None:
        self._runtime = runtime
        self._watch = watch

    async def race(self, tag: str) -> Sample:
        """A turn of a session of its own."""
        self._watch.committed_at = None
        sample = Sample(tag=tag, asked_at=time.monotonic())
        try:
            async with self._runtime.session(tag).stream(tag) as turn:
                async for event in turn:
                    if sample.first_content_at is None and isinstance(event, TextDelta):
                        sample.first_content_at = time.monotonic()
            sample.text = turn.reply.text
        except VantaError as error:
            sample.failure = str(error)
        sample.committed_at = self._watch.committed_at
        return sample


@asynccontextmanager
async def open_vanta(trap: Trap, urls: Sequence[str], folder: str) -> AsyncIterator[Vanta]:
    """A runtime with one track for each server; nothing of the user's own configuration."""
    tracks: dict[str, Any] = {
        name: {
            "engine": "openai",
            "model": MODEL,
            "options": {"base_url": url, "api_key_env": "VANTA_BENCH_NO_KEY"},
        }
        for name, url in zip(("slow", "fast"), urls, strict=True)
    }
    for name in ("local", "api"):
        tracks[name] = {"enabled": False}
    config = {"policies": {"race": {"tracks": ["slow", "fast"]}}, **trap.config}
    watch = Watch()
    opening = vanta.open(
        {}, plugins=[watch], policy="race", data_dir=folder, tracks=tracks, **config
    )
    async with opening as runtime:
        await runtime.warm_up("slow", "fast")
        yield Vanta(runtime, watch)


class PlainClient:
    """The SDK on the fast server alone: what nobody can beat."""

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    async def race(self, tag: str) -> Sample:
        """One streamed completion."""
        sample = Sample(tag=tag, asked_at=time.monotonic())
        await _read(await _create(self._fast, tag), sample)
        return sample


class HeadersRace:
    """Both servers at once over the SDK; the first response decides, as in today's routers."""

    def __init__(self, clients: Sequence[Any]) -> None:
        self._clients = clients

    async def race(self, tag: str) -> Sample:
        """What comes first, headers or an error, is the answer; the other is cancelled."""
        import openai

        sample = Sample(tag=tag, asked_at=time.monotonic())
        asked = [asyncio.create_task(_create(client, tag)) for client in self._clients]
        done, pending = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        sample.committed_at = time.monotonic()
        for task in pending:
            task.cancel()
        try:
            await _read(done.pop().result(), sample)
        except openai.APIError as error:
            sample.failure = str(error)
        for late in await asyncio.gather(*asked, return_exceptions=True):
            if not isinstance(late, BaseException):
                await late.close()
        return sample


@asynccontextmanager
async def open_clients(urls: Sequence[str]) -> AsyncIterator[list[Any]]:
    """A client of the SDK for each server, without retries."""
    import openai

    clients = [openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) for url in urls]
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()


async def _create(client: Any, tag: str) -> Any:
    return await client.chat.completions.create(
        model=MODEL, stream=True, messages=[{"role": "user", "content": tag}]
    )


async def _read(stream: Any, sample: Sample) -> None:
    async for chunk in stream:
        text = chunk.choices[0].delta.content if chunk.choices else None
        if text and not text.isspace() and sample.first_content_at is None:
            sample.first_content_at = time.monotonic()
        sample.text += text or ""
