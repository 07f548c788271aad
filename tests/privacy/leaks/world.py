"""A runtime between a private track and a machine that is not: a server that records all it gets.

The server is the api track's, the remote embedder's and that of the tools `post` and `look_up`, so
whatever leaves arrives there. Logs, spans and events that are not marked as private count as
outside, too. Invariant: what is inside is recorded as well, so that a path that moved no private
text at all fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

import vanta
from vanta import (
    ApprovalRequested,
    CallFinished,
    CallRequested,
    Event,
    GenerationRequest,
    QuestionAsked,
    ToolResult,
)
from vanta.api import Opening
from vanta.testing import Behaviour, CallTool, ScriptedEngine, Upstream, scripted_plugin

CANARY = "Zanzibarquay"
SECRET = f"The key lies under the {CANARY} stone."

Answer = Callable[[GenerationRequest], list[Any]]


def results(request: GenerationRequest) -> list[str]:
    """Return the results of this turn's calls that a request shows."""
    last = max(n for n, message in enumerate(request.messages) if message.role == "user")
    return [message.content for message in request.messages[last:] if message.role == "tool"]


def calls(*rounds: tuple[str, dict[str, Any]]) -> Answer:
    """Return what calls one tool after another, and then answers."""

    def answer(request: GenerationRequest) -> list[Any]:
        done = len(results(request))
        if done < len(rounds):
            name, arguments = rounds[done]
            return [CallTool(name, json.dumps(arguments), id=f"c{done}")]
        return ["I have done what I could."]

    return answer


def api_calls(name: str, arguments: str = "{}") -> Behaviour:
    """Return what makes the api track call a tool."""
    return Behaviour.calls(name, arguments)


@dataclass
class World:
    """The machine and what is outside it.

    :param upstream: everything that is not private.
    :param folder: the data folder.
    :param logs: the records of the test's log.
    """

    upstream: Upstream
    folder: Path
    logs: pytest.LogCaptureFixture
    inside: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)

    def open(
        self, answer: Answer | None = None, *, tools: list[Any] | None = None, **given: Any
    ) -> Opening:
        """Open a runtime whose local track is private and answers by `answer`."""
        say = answer or (lambda _request: ["Fine."])

        def reply(request: GenerationRequest) -> list[Any]:
            self.inside += [message.content for message in request.messages]
            self.inside += [call.arguments for item in request.messages for call in item.tool_calls]
            steps = say(request)
            self.inside += [step.arguments for step in steps if isinstance(step, CallTool)]
            return steps

        config: dict[str, Any] = given.pop("config", {})
        memory = {
            "recall_timeout_s": 30.0,
            "embedder": "none",
            "index": "none",
            **config.pop("memory", {}),
        }
        server = {"base_url": self.upstream.base_url, "api_key_env": "VANTA_NO_KEY"}
        tracks = {
            "local": {"engine": "scripted", "model": "scripted-1", "private": True},
            "api": {"engine": "openai", "model": "test-model", "options": server},
        }
        base = {"data_dir": str(self.folder), "tracks": tracks, "memory": memory, "retries": 0}
        plugins = [
            scripted_plugin(local=ScriptedEngine(reply=reply)),
            _Watching(self.events),
            *given.pop("more_plugins", ()),
        ]
        own = [*self.tools, *(tools or [])]
        return vanta.open({**base, **config}, plugins=plugins, own_tools=own, **given)

    @property
    def tools(self) -> list[Any]:
        """Tools that leave this machine, and private ones with a private result."""
        base_url, inside = self.upstream.base_url, self.inside

        @vanta.tool
        async def post(text: str) -> str:
            """Send a text to another machine."""
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.post(f"{base_url}/notes", json={"text": text})
            return "Sent."

        @vanta.tool(effect="read")
        async def look_up(text: str) -> str:
            """Look a text up on another machine."""
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(f"{base_url}/look_up", params={"text": text})
            return "Nothing is known about it."

        @vanta.tool(effect="read", private=True)
        async def diary() -> ToolResult:
            """Read the diary of the user."""
            inside.append(SECRET)
            return ToolResult(SECRET, private=True)

        @vanta.tool(private=True)
        async def note(text: str) -> ToolResult:
            """Write into the diary of the user."""
            inside.append(SECRET)
            return ToolResult(f"Noted beside: {SECRET} {text}", private=True)

        return [post, look_up, diary, note]

    @property
    def outside(self) -> str:
        """All text that left the machine, was logged, exported, or shown as not private."""
        shown = [
            "".join(getattr(event, name, "") for name in ("text", "arguments", "question"))
            for event in self.events
            if isinstance(event, CallRequested | CallFinished | ApprovalRequested | QuestionAsked)
            if not event.private
        ]
        received = self.upstream.received.decode("utf-8", "replace")
        return "\n".join([received, self.logs.text, *self.spans, *shown])

    def received(self, part: str) -> bool:
        """Return whether the outside got a text."""
        return part.encode() in self.upstream.received


@dataclass
class _Watching:
    """A plugin whose observer keeps all events."""

    events: list[Event]
    name: str = "watching"

    @vanta.hookimpl
    def vanta_observers(self) -> Iterator[Callable[[Event], None]]:
        yield self.events.append
