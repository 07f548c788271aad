"""Offers a script's tools to a track's engine.

The template `tools/use`, at the end of the system prompt, says how to use them. Invariant: only
what is said in a conversation is offered tools (a verifier's one token is not), and nothing is ever
run: what the engine asks for is part of the reply.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from vanta import WrapperEngine
from vanta.engine import (
    DeltaStream,
    Engine,
    GenerationRequest,
    TokenCount,
    Tool,
)
from vanta.messages import Message
from vanta.track import Track

TEMPLATE = "tools/use"


def offering(track: Track, tools: Sequence[Tool], rules: str) -> Track:
    """The track, offered `tools` in every conversation; rules: how to use them."""
    return dataclasses.replace(track, engine=_Offering(track.engine, tuple(tools), rules))


class _Offering(WrapperEngine):
    """An engine whose conversations are offered tools. Its owner closes it."""

    answers = Engine.answers

    def __init__(self, engine: Engine, tools: tuple[Tool, ...], rules: str) -> None:
        super().__init__(engine)
        self._tools = tools
        self._rules = rules

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Open the engine's stream; a request with a session is offered the tools."""
        if request.session:
            messages = self._with_rules(request.messages)
            tools = (*request.tools, *self._tools)
            request = dataclasses.replace(request, messages=messages, tools=tools)
        return self.wrapped.stream(request)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count the tokens, the rules on tools included."""
        return await self.wrapped.count_tokens(self._with_rules(messages))

    def _with_rules(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages with the rules at the end of their system message, if any."""
        if not messages or messages[0].role != "system":
            return tuple(messages)
        system = f"{messages[0].content}\n\n{self._rules}"
        return (dataclasses.replace(messages[0], content=system), *messages[1:])

    async def aclose(self) -> None:
        """Do nothing: the engine belongs to the runtime."""
