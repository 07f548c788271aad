"""Offers a script's tools to a track's engine.

The template `tools/use`, at the end of the system prompt, says how to use them. Invariant: only
what is said in a conversation is offered tools (a verifier's one token is not), and nothing is ever
run: what the engine asks for is part of the reply.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from vanta.engine import (
    DeltaStream,
    Engine,
    EngineModel,
    GenerationRequest,
    Health,
    TokenCount,
    Tool,
)
from vanta.messages import Message
from vanta.track import Track

TEMPLATE = "tools/use"


def offering(track: Track, tools: Sequence[Tool], rules: str) -> Track:
    """The track, offered `tools` in every conversation; rules: how to use them."""
    return dataclasses.replace(track, engine=_Offering(track.engine, tuple(tools), rules))


class _Offering(Engine):
    """An engine that is offered tools. It is not this one's to close."""

    def __init__(self, engine: Engine, tools: tuple[Tool, ...], rules: str) -> None:
        self._engine = engine
        self._tools = tools
        self._rules = rules
        self.name, self.model = engine.name, engine.model

    @property
    def capabilities(self) -> Any:  # type: ignore[override]
        """As the engine says now."""
        return self._engine.capabilities

    @property
    def window(self) -> int | None:
        """As the engine says."""
        return self._engine.window

    @property
    def counter(self) -> str:
        """As the engine says."""
        return self._engine.counter

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """The engine's stream; a request of a conversation, which has a session, has the tools."""
        if request.session:
            messages = self._told(request.messages)
            tools = (*request.tools, *self._tools)
            request = dataclasses.replace(request, messages=messages, tools=tools)
        return self._engine.stream(request)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """As the engine counts, the rules on tools included."""
        return await self._engine.count_tokens(self._told(messages))

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """As the engine counts."""
        return await self._engine.count_texts(texts)

    def _told(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages with the rules in their system prompt; without one, as they are."""
        if not messages or messages[0].role != "system":
            return tuple(messages)
        system = f"{messages[0].content}\n\n{self._rules}"
        return (dataclasses.replace(messages[0], content=system), *messages[1:])

    async def models(self) -> Sequence[EngineModel]:
        """As the engine says."""
        return await self._engine.models()

    async def health(self, *, force: bool = False) -> Health:
        """As the engine says."""
        return await self._engine.health(force=force)

    async def load(self) -> None:
        """Load the engine."""
        await self._engine.load()

    def stats(self) -> Mapping[str, Any]:
        """As the engine says."""
        return self._engine.stats()

    async def aclose(self) -> None:
        """Nothing: the engine is closed by whoever opened it."""
