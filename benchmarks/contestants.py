"""The contestants of the races: vanta, a plain client of the fast server, and a race by headers.

Invariant: all contestants use the same SDK on the same event loop and record the same moments on
`time.monotonic()`; `asked_at` is taken before any code of the contestant runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import vanta
from vanta import Committed, Event, Observer, Runtime, TextDelta, VantaError, hookimpl

from .servers import Trap

MODEL = "test-model"


@dataclass(slots=True, kw_only=True)
class Sample:
    """The moments of one race, the whole answer, and the failure if there is none."""

    tag: str
    asked_at: float
    first_content_at: float | None = None
    committed_at: float | None = None
    text: str = ""
    failure: str = ""


class Contestant(Protocol):
    """A client that gets an answer from two servers."""

    async def race(self, tag: str) -> Sample:
        """Send the message `tag` and return the sample of the race. Never raises VantaError."""
        ...


class CommitClock:
    """A plugin that records the time of a commit on the clock of the servers."""

    name = "commit-clock"
    committed_at: float | None = None

    @hookimpl
    def vanta_observers(self) -> list[Observer]:
        """Return the observer of all events."""
        return [self.observe]

    def observe(self, event: Event) -> None:
        """Record the time of a commit; called at the moment of the event."""
        if isinstance(event, Committed):
            self.committed_at = time.monotonic()


class Vanta:
    """The policy `race` over both servers, through `Session.stream`."""

    def __init__(self, runtime: Runtime, clock: CommitClock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def race(self, tag: str) -> Sample:
        """Run one turn in a new session."""
        self._clock.committed_at = None
        sample = Sample(tag=tag, asked_at=time.monotonic())
        try:
            async with self._runtime.session(tag).stream(tag) as turn:
                async for event in turn:
                    if sample.first_content_at is None and isinstance(event, TextDelta):
                        sample.first_content_at = time.monotonic()
            sample.text = turn.reply.text
        except VantaError as error:
            sample.failure = str(error)
        sample.committed_at = self._clock.committed_at
        return sample


@asynccontextmanager
async def open_vanta(trap: Trap, urls: Sequence[str], folder: str) -> AsyncIterator[Vanta]:
    """Open a runtime with one track per server, without the configuration of the user."""
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
    clock = CommitClock()
    opening = vanta.open(
        {}, plugins=[clock], policy="race", data_dir=folder, tracks=tracks, **config
    )
    async with opening as runtime:
        await runtime.warm_up("slow", "fast")
        yield Vanta(runtime, clock)


class PlainClient:
    """The SDK on the fast server alone, the lower bound of every race."""

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    async def race(self, tag: str) -> Sample:
        """Read one streamed completion."""
        sample = Sample(tag=tag, asked_at=time.monotonic())
        await _read(await _create(self._fast, tag), sample)
        return sample


class HeadersRace:
    """Both servers at once over the SDK; the first response decides, as in common routers."""

    def __init__(self, clients: Sequence[Any]) -> None:
        self._clients = clients

    async def race(self, tag: str) -> Sample:
        """Read the answer whose headers or error arrive first, and cancel the other one."""
        import openai

        sample = Sample(tag=tag, asked_at=time.monotonic())
        requests = [asyncio.create_task(_create(client, tag)) for client in self._clients]
        done, pending = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        sample.committed_at = time.monotonic()
        for task in pending:
            task.cancel()
        try:
            await _read(done.pop().result(), sample)
        except openai.APIError as error:
            sample.failure = str(error)
        for late in await asyncio.gather(*requests, return_exceptions=True):
            if not isinstance(late, BaseException):
                await late.close()
        return sample


@asynccontextmanager
async def open_clients(urls: Sequence[str]) -> AsyncIterator[list[Any]]:
    """Open one SDK client per server, without retries."""
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
