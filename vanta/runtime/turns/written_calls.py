"""Turns with tools on engines that have none: their models write the calls into their text.

The template `tools/use` ends the system prompt, calls and results of the transcript are plain
messages, and every leg reads the calls in its text. A call that has to be made is forced by a
schema if the engine supports one. Invariant: an engine that has tools is never wrapped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from vanta.context.token_cache import share_token_cache
from vanta.engine import (
    Capabilities,
    DeltaStream,
    Engine,
    GenerationRequest,
    Sampling,
    TokenCount,
    Tool,
)
from vanta.engine_base import WrapperEngine
from vanta.messages import Message
from vanta.normalising import call_schema, signatures, written
from vanta.tool_contract import ToolCounts
from vanta.track import Track


def able_to_call(track: Track) -> Track:
    """Return a track whose engine takes requests with tools.

    :param track: a track; if its engine has tools, it is returned as it is.
    """
    if track.engine.capabilities.tools:
        return track
    wrapper = WrittenCalls(track.engine)
    share_token_cache(track.engine, wrapper)
    return dataclasses.replace(track, engine=wrapper)


class WrittenCalls(WrapperEngine):
    """An engine whose model writes calls into its text. Its owner closes the wrapped engine.

    :param wrapped: an engine without tools.
    """

    answers = Engine.answers

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """The wrapped engine's capabilities, and tools."""
        return dataclasses.replace(self.wrapped.capabilities, tools=True)

    @property
    def writes_calls(self) -> bool:  # type: ignore[override]
        """True, unless loading has shown that the engine has tools."""
        return not self.wrapped.capabilities.tools

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Return the stream of a request without tools; calls are part of its text."""
        if not self.writes_calls:
            return self.wrapped.stream(request)
        tools = () if request.tool_choice == "none" else request.callable_tools
        return self.wrapped.stream(
            dataclasses.replace(
                request,
                messages=tuple(written(request.messages, tools, request.tool_rules)),
                sampling=self._sampling(request),
                tools=(),
                tool_choice="auto",
                parallel_tool_calls=True,
            )
        )

    def _sampling(self, request: GenerationRequest) -> Sampling:
        """Return the sampling, with the schema of a call that has to be made."""
        sampling, tools = request.sampling, request.callable_tools
        is_free = sampling.grammar is None and sampling.json_schema is None and not request.prefix
        if not (request.must_call and tools and is_free and self.capabilities.json_schema):
            return sampling
        return dataclasses.replace(sampling, json_schema=call_schema(tools))

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count messages as they are sent."""
        if not self.writes_calls:
            return await self.wrapped.count_tokens(messages)
        return await self.wrapped.count_tokens(written(messages, ()))

    async def count_tools(self, tools: Sequence[Tool]) -> ToolCounts:
        """Count tools as they are written into the system prompt, with the words around them."""
        if not self.writes_calls or not tools:
            return await self.wrapped.count_tools(tools)
        (rules,) = written((), tools[:1])
        texts = [rules.content, *(signatures([tool]) for tool in tools)]
        around, first, *rest = [count.value for count in await self.count_texts(texts)]
        return ToolCounts(max(0, around - first), (first, *rest))

    async def aclose(self) -> None:
        """Do nothing: the owner of the wrapped engine closes it."""
