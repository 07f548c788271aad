"""A runtime behind a real server on a loopback port, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai

import vanta
from tests.runtime.home import open_scripted
from vanta_server.access import AccessRules
from vanta_server.keys import KeyStore
from vanta_server.running import ServerSettings, bind, serve, url_of


@dataclass(frozen=True)
class Served:
    """A running server.

    :param url: its base URL.
    :param runtime: the runtime behind it.
    :param keys: its keys.
    """

    url: str
    runtime: vanta.Runtime
    keys: KeyStore

    def client(self, key: str = "none", **rest: Any) -> openai.AsyncOpenAI:
        """Return OpenAI's own client of it."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **rest)

    async def post(self, body: Any, **rest: Any) -> httpx2.Response:
        """Send a chat completion as it is."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.post(f"{self.url}/v1/chat/completions", json=body, **rest)

    async def get(self, path: str, **rest: Any) -> httpx2.Response:
        """Get a path."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.url}{path}", **rest)


@asynccontextmanager
async def served(folder: Path, **given: Any) -> AsyncIterator[Served]:
    """Serve a runtime on scripted engines; given: as for `open_scripted`, and rules of access."""
    allowed = {name: given.pop(name) for name in ("hosts", "origins") if name in given}
    keys = KeyStore(folder / "server")
    rules = AccessRules(keys=keys, **allowed)
    ready = anyio.Event()
    async with open_scripted(folder, **given) as runtime, anyio.create_task_group() as tasks:
        listener = await anyio.to_thread.run_sync(bind, ServerSettings(port=0), rules)
        url = url_of(listener)
        run = partial(serve, drain_s=1.0, on_ready=ready.set, signals=False)
        tasks.start_soon(run, runtime, listener, rules)
        await ready.wait()
        yield Served(url, runtime, keys)
        tasks.cancel_scope.cancel()


def ask(text: str, **rest: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"model": "vanta", "messages": [{"role": "user", "content": text}], **rest}
