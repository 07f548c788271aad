"""A runtime behind a real server on a loopback port, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
from anyio.from_thread import start_blocking_portal

import vanta
from tests.runtime.home import open_scripted
from vanta import ErrorKind
from vanta.testing import CallTool, Fail, Hang, Say, ScriptedEngine, Think
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

    async def post(
        self, body: Any, path: str = "/v1/chat/completions", **rest: Any
    ) -> httpx2.Response:
        """Send a request, such as a chat completion, as it is."""
        async with httpx2.AsyncClient(trust_env=False, timeout=600) as client:
            return await client.post(f"{self.url}{path}", json=body, **rest)

    async def get(self, path: str, **rest: Any) -> httpx2.Response:
        """Get a path."""
        async with httpx2.AsyncClient(trust_env=False, timeout=600) as client:
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


@contextmanager
def served_beside(folder: Path, **given: Any) -> Iterator[Served]:
    """Serve in a thread with a loop of its own, for the many tests of a module.

    :param folder: the folder of the runtime.
    :param given: as for `served`.
    """
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(served(folder, **given)) as server,
    ):
        yield server


def ask(text: str, **rest: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"model": "vanta", "messages": [{"role": "user", "content": text}], **rest}


def scripted_pair() -> dict[str, ScriptedEngine]:
    """Return two engines that answer by the user's last message, for a server of many tests.

    The track `api` breaks in the middle of a count, and fails as a message asks: `fail OVERLOADED`.
    """

    def api(request: vanta.GenerationRequest) -> list[Any]:
        text = request.messages[-1].content
        if text == "Count":
            return ["One two", Fail(ErrorKind.NETWORK)]
        if text == "Count alone":
            return ["One two", Fail(ErrorKind.BAD_REQUEST)]
        if text.startswith("fail "):
            return [Fail(ErrorKind[text.removeprefix("fail ")])]
        return local(request)

    def local(request: vanta.GenerationRequest) -> list[Any]:
        last = request.messages[-1]
        if last.role == "tool":
            return [f"It is {last.content}."]
        scripts: dict[str, list[Any]] = {
            "Count": [Say("One two three four", logprob=-0.5)],
            "Weather?": [CallTool("look_up", '{"city": "Oslo"}')],
            "Think": [Think("Let me "), Think("think."), "Thought."],
            "Hang": ["One", Hang()],
            "Hang at once": [Hang()],
            "What system?": ["|".join(m.content for m in request.messages if m.role == "system")],
            "Which seed?": [f"seed {request.sampling.seed}"],
            "Go on": ["|".join(f"{m.role}: {m.content}" for m in request.messages)],
        }
        return scripts.get(last.content, [Say("Hello there", logprob=-0.25)])

    return {"local": ScriptedEngine(reply=local), "api": ScriptedEngine(reply=api)}
