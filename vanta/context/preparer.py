"""The preparer: turns a turn's message into the request that one track gets.

Invariant: every request of a turn is prepared here, so that budget and privacy hold for first
legs, hedges and takeovers alike. What each track's prompt took is kept for the trace.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vanta.context.assembly import Assembled, Exchange, assemble
from vanta.context.budget import OverflowReport, read_overflow
from vanta.context.memories import Memories, MemorySource
from vanta.context.token_cache import token_cache_of
from vanta.engine import GenerationRequest, Sampling
from vanta.errors import EngineError, TemplateError
from vanta.messages import Message
from vanta.track import Track

VERIFY_RIVALS = 5
"""Rivals of a verifier's one token whose logprobs are asked for, to find yes and no among them."""

MARGIN = 0.02
"""A share of what a server leaves open that is left free after it refused a prompt."""


class ContextPreparer:
    """Prepares the requests of one turn.

    system: the rendered system prompt. history: past exchanges, oldest first. sampling: what the
    turn asks for; its set fields go before the track's. session: key of the engine's KV cache.
    ask_to_continue: the message that asks an engine without prefix continuation to go on from a
    shown text. ask_to_verify: the message that asks whether an answer to a question is right.
    memory: where memories come from, None where it is off.
    """

    def __init__(
        self,
        *,
        system: str,
        history: Sequence[Exchange],
        message: Message,
        sampling: Sampling,
        session: str,
        ask_to_continue: Callable[[str], str],
        ask_to_verify: Callable[[str, str], str],
        memory: MemorySource | None = None,
    ) -> None:
        self._system = system
        self._history = history
        self._message = message
        self._sampling = sampling
        self._session = session
        self._ask_to_continue = ask_to_continue
        self._ask_to_verify = ask_to_verify
        self._memory = memory
        self._memories: Memories | None = None
        self._unwritable: str | None = None
        self._sent: dict[str, Assembled] = {}
        self.report: dict[str, dict[str, Any]] = {}

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        """The request for one leg; see `vanta.scheduling.race_plan.Preparer`."""
        await track.engine.load()
        continues = bool(shown) and track.engine.capabilities.prefix_continuation
        assembled = await self._assemble(track, self._tail(shown, continues=continues))
        return self._request(track, assembled, shown, judged=judged)

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        """The request again, short enough for a server that refused it; see
        `vanta.scheduling.race_plan.Preparer`."""
        continues = bool(shown) and track.engine.capabilities.prefix_continuation
        refused = self._sent.get(track.name)
        if refused is None:
            raise refusal
        told = read_overflow(refusal.message)
        token_cache_of(track.engine).heed(told.window)
        window = await shorter_window(track, refused, told)
        tail = self._tail(shown, continues=continues)
        assembled = await self._assemble(track, tail, window=window)
        request = self._request(track, assembled, shown, judged=judged)
        self.report[track.name]["refused"] = refusal.message
        return request

    def _request(
        self, track: Track, assembled: Assembled, shown: str, *, judged: bool
    ) -> GenerationRequest:
        continues = bool(shown) and track.engine.capabilities.prefix_continuation
        self._sent[track.name] = assembled
        self.report[track.name] = report_of(assembled)
        if self._unwritable:
            self.report[track.name]["memory_skipped"] = self._unwritable
        messages = assembled.messages[:-1] if continues else assembled.messages
        return GenerationRequest(
            messages=messages,
            sampling=self._sampling_for(track, judged=judged),
            prefix=shown if continues else "",
            session=self._session,
        )

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        """The request for one token on `answer`; see `vanta.scheduling.race_plan.Preparer`."""
        await track.engine.load()
        question = Message("user", self._ask_to_verify(self._message.content, answer))
        assembled = await assemble(track, "", (), (question,))
        logprobs = VERIFY_RIVALS if track.engine.capabilities.logprobs else None
        sampling = Sampling(max_tokens=1, temperature=0.0, logprobs=logprobs)
        return GenerationRequest(assembled.messages, sampling)

    def _tail(self, shown: str, *, continues: bool) -> tuple[Message, ...]:
        if not shown:
            return (self._message,)
        said = Message("assistant", shown)
        if continues:
            return (self._message, said)
        return (self._message, said, Message("user", self._ask_to_continue(shown)))

    def _sampling_for(self, track: Track, *, judged: bool) -> Sampling:
        sampling = merge_sampling(track.sampling, self._sampling)
        if judged and sampling.logprobs is None and track.engine.capabilities.logprobs:
            return dataclasses.replace(sampling, logprobs=0)
        return sampling

    async def _recall(self, source: MemorySource) -> Memories:
        """What was found, the same object for all tracks as long as it is the same."""
        found = tuple(await source.recall())
        if self._memories is None or self._memories.found != found:
            self._memories = Memories(found, source.write, source.session)
        return self._memories

    async def _assemble(
        self, track: Track, tail: tuple[Message, ...], window: int | None = None
    ) -> Assembled:
        parts = (track, self._system, self._history, tail)
        source = self._memory
        if source is None:
            return await assemble(*parts, window=window)
        memories = await self._recall(source)
        try:
            return await assemble(*parts, memories=memories, shares=source.shares, window=window)
        except TemplateError as error:  # memory breaks no turn, and neither does how it is written
            self._unwritable = str(error)
            return await assemble(*parts, window=window)


async def shorter_window(track: Track, refused: Assembled, told: OverflowReport) -> int:
    """The window, in the engine's own counts, in which a prompt fits that a server refused.

    The engine may have learnt from the refusal, so the prompt is counted again. By the server's
    numbers where it told both, each of its tokens being worth as many of the engine's as in this
    prompt; else half of the prompt has to do. Raises EngineError.
    """
    counted = (await track.engine.count_tokens(refused.messages)).value
    if told.window is None or told.prompt is None:
        return counted // 2 + track.reply_reserve
    reserve = track.reply_reserve if told.reply is None else told.reply
    left = int((told.window - reserve) * counted / told.prompt * (1.0 - MARGIN))
    return (left if 0 < left < counted else counted // 2) + track.reply_reserve


def report_of(assembled: Assembled) -> dict[str, Any]:
    """What a trace tells of a prompt, as JSON-ready data: its tokens and who counted them, the
    budget, and each memory in it with its score and the tokens of its line."""
    tokens, pack, budget = assembled.tokens, assembled.pack, assembled.budget
    return {
        "tokens": tokens.value if tokens else None,
        "exact": tokens.exact if tokens else None,
        "counter": assembled.counter,
        "window": budget.window if budget else None,
        "budget": budget.prompt if budget else None,
        "dropped_exchanges": assembled.dropped,
        "memories": pack.provenance() if pack else [],
        "memory_tokens": pack.tokens if pack else 0,
        "summary": bool(pack and pack.summary),
    }


def merge_sampling(base: Sampling, over: Sampling) -> Sampling:
    """`base` with every field that `over` sets."""
    default = Sampling()
    changes = {
        field.name: getattr(over, field.name)
        for field in dataclasses.fields(Sampling)
        if getattr(over, field.name) != getattr(default, field.name)
    }
    return dataclasses.replace(base, **changes) if changes else base
