"""A runtime with companions on a scripted local engine, and ways to wait for what they do."""

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
    """A plugin that brings companions under names of their own."""

    def __init__(self, *companions: Companion) -> None:
        self.companions = companions

    @vanta.hookimpl
    def vanta_companions(self) -> Iterable[Companion]:
        return self.companions


def facts(*pairs: tuple[str, str]) -> str:
    """A model's answer with these facts: what each is about, and the fact."""
    return json.dumps({"facts": [{"about": about, "fact": fact} for about, fact in pairs]})


def engine(
    answers: Mapping[str, str], *, chat: Iterable[Step | str] = ("I see.",), summary: str = ""
) -> ScriptedEngine:
    """Answers a request for facts with that of `answers` whose key the message has, a request for
    a summary with `summary` and its number, anything else with `chat`."""
    written: list[str] = []

    def reply(request: GenerationRequest) -> Iterable[Step | str]:
        asked = request.messages[-1].content
        if request.sampling.json_schema is not None:
            message = asked.rpartition("<message>")[2]
            return [next((text for key, text in answers.items() if key in message), facts())]
        if asked.startswith(SUMMARISE):
            written.append(asked)
            return [f"{summary} {len(written)}".strip()] if summary else []
        return chat

    return ScriptedEngine(reply=reply, capabilities=ABLE)


def open_home(folder: Path, **given: Any) -> Opening:
    """A runtime whose memory finds words alone."""
    config = given.pop("config", {})
    memory = {"embedder": "none", "index": "none", **config.pop("memory", {})}
    return open_scripted(folder, config={"memory": memory, **config}, **given)


def memory_of(runtime: Runtime) -> Memory:
    """The runtime's memory, which has to be there."""
    assert runtime.memory is not None, runtime.memory_off
    return runtime.memory


async def stored(
    runtime: Runtime, kind: ItemKind, *, user: str = "default", private: bool = True
) -> list[MemoryItem]:
    """The items of a kind that are remembered of a user."""
    scope = Scope(user, private=private)
    return await memory_of(runtime).recent(scope, filters=Filters(kinds=(kind,)))


async def until(runtime: Runtime, kind: ItemKind, count: int) -> list[MemoryItem]:
    """The items of a kind, as soon as there are `count`."""
    with anyio.fail_after(30):
        while len(found := await stored(runtime, kind)) < count:
            pass
    return found


async def work_off(look: Callable[..., Awaitable[bool]], runtime: Runtime) -> None:
    """All steps of a companion, one after another."""
    while await look(runtime, memory_of(runtime), runtime.tracks["local"]):
        pass
