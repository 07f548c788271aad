"""A runtime with companions on a scripted local engine, and ways to wait for their results."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio

import vanta
from tests.runtime.home import open_scripted
from vanta.api import Opening
from vanta.companion import Companion
from vanta.engine import Capabilities, GenerationRequest
from vanta.memory import Filters, ItemKind, Memory, MemoryItem, Scope
from vanta.runtime import Runtime
from vanta.testing import ScriptedEngine, Step

ABLE = Capabilities(json_schema=True, tokenize=True, prefix_continuation=True)
SUMMARISE = "Summarise the conversation"

Look = Callable[[Runtime], Awaitable[bool]]


class Companions:
    """A plugin that brings the given companions."""

    def __init__(self, *companions: Companion) -> None:
        self.companions = companions

    @vanta.hookimpl
    def vanta_companions(self) -> Iterable[Companion]:
        return self.companions


def facts(*pairs: tuple[str, str]) -> str:
    """Return a model's answer with these facts, given as pairs of topic and fact."""
    return json.dumps({"facts": [{"about": about, "fact": fact} for about, fact in pairs]})


def engine(
    answers: Mapping[str, str], *, chat: Iterable[Step | str] = ("I see.",), summary: str = ""
) -> ScriptedEngine:
    """Return an engine that answers requests for facts, summaries and replies.

    Facts: the value of `answers` whose key occurs in the message. A summary: `summary` with its
    number. Anything else: `chat`.
    """
    summaries: list[str] = []

    def reply(request: GenerationRequest) -> Iterable[Step | str]:
        prompt = request.messages[-1].content
        if request.sampling.json_schema is not None:
            message = prompt.rpartition("<message>")[2]
            return [next((text for key, text in answers.items() if key in message), facts())]
        if prompt.startswith(SUMMARISE):
            summaries.append(prompt)
            return [f"{summary} {len(summaries)}".strip()] if summary else []
        return chat

    return ScriptedEngine(reply=reply, capabilities=ABLE)


def open_home(folder: Path, **options: Any) -> Opening:
    """Open a runtime whose memory has neither embedder nor index."""
    config = options.pop("config", {})
    memory = {"embedder": "none", "index": "none", **config.pop("memory", {})}
    return open_scripted(folder, config={"memory": memory, **config}, **options)


def memory_of(runtime: Runtime) -> Memory:
    """Return the runtime's memory, which must exist."""
    assert runtime.memory is not None, runtime.memory_off
    return runtime.memory


async def stored(
    runtime: Runtime, kind: ItemKind, *, user: str = "default", private: bool = True
) -> list[MemoryItem]:
    """Return the stored items of a kind of a user."""
    scope = Scope(user, private=private)
    return await memory_of(runtime).recent(scope, filters=Filters(kinds=(kind,)))


async def until(runtime: Runtime, kind: ItemKind, count: int) -> list[MemoryItem]:
    """Return the items of a kind as soon as there are `count`."""
    with anyio.fail_after(30):
        while len(items := await stored(runtime, kind)) < count:
            pass
    return items


async def run_all(step: Callable[..., Awaitable[bool]], runtime: Runtime) -> None:
    """Run the steps of a companion until none is left."""
    while await step(runtime, memory_of(runtime), runtime.tracks["local"]):
        pass
