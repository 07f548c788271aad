"""Assembly: what a track sees in a turn, inside its token budget.

The order keeps a local engine's KV prefix alive from turn to turn: system, then history, which
only grows at its end, then the recalled memories in one block at the head of the message. History
is cut at its old end, in whole exchanges and in steps of `STEP` of them (fewer where one step does
not fit), so that the cut moves rarely. Where it lies follows from the texts alone: it is the first
at which history fits into what system prompt, message and memory's reserve leave, whatever was
recalled. A turn's message is part of the next one's history, so a cut that was made is never taken
back, and prompts of consecutive turns share their history but for a step.

Invariant: what is assembled takes no more than the budget by the engine's own count of the whole
prompt; what cannot fit is a `context_overflow` that says by how many tokens, raised before anything
is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vanta.context.budget import BudgetShares, TokenBudget
from vanta.context.memories import Memories, Pack, Packer
from vanta.context.token_cache import TokenCache, token_cache_of
from vanta.engine import TokenCount
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Exchange, Message
from vanta.track import Track

STEP = 4
"""Exchanges that leave the history together once it has to be cut."""

COUNTED_AT_ONCE = 8
"""Steps of history that are counted together, from its new end."""

BLIND_ROOM = 1024
"""Tokens for memories where the window is not known."""

SLACK = 0.01
"""A share of the prompt; when more than this turns out to be left, memories are packed anew."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A prompt that fits. tokens: its count, None where the track's window is unknown and the whole
    was not counted. dropped: exchanges that were left out for want of room. pack: the memories in
    it. budget: None where the window is unknown. counter: what counted."""

    messages: tuple[Message, ...]
    tokens: TokenCount | None
    dropped: int
    pack: Pack | None = None
    budget: TokenBudget | None = None
    counter: str = ""


async def assemble(
    track: Track,
    system: str,
    history: Sequence[Exchange],
    tail: Sequence[Message],
    *,
    memories: Memories | None = None,
    shares: BudgetShares | None = None,
    window: int | None = None,
) -> Assembled:
    """Put a track's prompt together: `system`, as much of `history` as fits, `memories` with the
    first message of `tail`, and `tail` whole.

    window: in place of the track's own. Raises EngineError: context_overflow if the prompt does
    not fit without any history, and whatever the engine's `count_tokens` raises.
    """
    shares = shares or BudgetShares(memory=0.0)
    meter = token_cache_of(track.engine)
    window = window or meter.window(track.window or track.engine.window)
    head = (Message("system", system),) if system else ()
    visible = [exchange for exchange in history if track.private or not exchange.private]
    parts = _Parts(track, head, visible, tuple(tail))
    packer = Packer(track, memories, meter) if memories and shares.memory else None
    if window is None:
        return await _uncut(parts, packer)
    budget = TokenBudget(window, track.reply_reserve, shares)
    return await _Assembly(parts, budget, packer).run()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a prompt is put together from; history without what the track may not see."""

    track: Track
    head: tuple[Message, ...]
    history: Sequence[Exchange]
    tail: tuple[Message, ...]

    def join(self, dropped: int, pack: Pack | None) -> tuple[Message, ...]:
        past = [message for exchange in self.history[dropped:] for message in exchange.messages]
        first, *rest = self.tail
        return (*self.head, *past, pack.put_before(first) if pack else first, *rest)

    def turns(self, dropped: int) -> frozenset[str]:
        return frozenset(exchange.turn for exchange in self.history[dropped:] if exchange.turn)


async def _uncut(parts: _Parts, packer: Packer | None) -> Assembled:
    """Where no window is known, all of the history, and memories within a bound."""
    pack = await packer.pack(BLIND_ROOM, parts.turns(0), fell_out=False) if packer else None
    counter = parts.track.engine.counter
    return Assembled(parts.join(0, pack), None, 0, pack, counter=counter)


class _Assembly:
    """One prompt within a budget: predicted from the counts of its parts, decided by the count of
    the whole."""

    def __init__(self, parts: _Parts, budget: TokenBudget, packer: Packer | None) -> None:
        self._parts = parts
        self._budget = budget
        self._packer = packer
        self._engine = parts.track.engine
        self._meter: TokenCache = token_cache_of(self._engine)

    async def run(self) -> Assembled:
        """The prompt. Raises EngineError."""
        whole = await self._whole()
        reserve = self._budget.memory_reserve(whole) if self._packer else 0
        dropped, past = await self._cut(self._budget.prompt - whole - reserve)
        room = self._budget.prompt - whole - past
        room = room if dropped else min(room, reserve)
        pack = await self._pack(room, dropped)
        found = await self._fit(dropped, pack)
        if not dropped or self._packer is None or found.dropped != dropped or found.tokens is None:
            return found
        left = self._budget.prompt - found.tokens.value
        unforeseen = min(left, whole + past + (pack.tokens if pack else 0) - found.tokens.value)
        if unforeseen <= SLACK * self._budget.prompt:
            return found
        return await self._widened(found, await self._pack(room + unforeseen, dropped))

    async def _whole(self) -> int:
        """What stands uncut takes: system prompt, tail, and the opening of the reply."""
        parts = self._parts
        counts = await self._meter.messages(self._engine, (*parts.head, *parts.tail))
        return sum(counts) + await self._meter.opening(self._engine, system=bool(parts.head))

    async def _cut(self, room: int) -> tuple[int, int]:
        """How many exchanges to leave out, and what the others take; counted from the new end, as
        far as `room` reaches."""
        history = self._parts.history
        past, cut = 0, len(history)
        while cut:
            begin = max(0, (cut - 1) // STEP - COUNTED_AT_ONCE + 1) * STEP
            costs = await self._costs(history[begin:cut])
            for first in range((cut - 1) // STEP * STEP, begin - 1, -STEP):
                step = costs[first - begin : cut - begin]
                if past + sum(step) > room:
                    return (cut, past) if past else _part_of(step, first, room)
                past, cut = past + sum(step), first
        return cut, past

    async def _costs(self, exchanges: Sequence[Exchange]) -> list[int]:
        messages = [message for exchange in exchanges for message in exchange.messages]
        counts = iter(await self._meter.messages(self._engine, messages))
        return [sum(next(counts) for _ in exchange.messages) for exchange in exchanges]

    async def _pack(self, room: int, dropped: int) -> Pack | None:
        if self._packer is None:
            return None
        room = min(room, self._budget.memory_most)
        return await self._packer.pack(room, self._parts.turns(dropped), fell_out=dropped > 0)

    async def _fit(self, dropped: int, pack: Pack | None) -> Assembled:
        """Count the whole, and take out memories, then steps of history, until it fits."""
        history, saved = len(self._parts.history), 0
        while True:
            found = await self._joined(dropped, pack)
            assert found.tokens is not None  # noqa: S101 - a joined prompt is counted
            over = found.tokens.value - self._budget.prompt
            if over <= 0:
                return found
            if pack:
                saved = max(over, 2 * saved)
                pack = pack.without(saved)
            elif dropped < history:
                dropped += STEP if history - dropped > STEP else 1
            else:
                raise _overflow(self._parts.track, self._budget, found.tokens)

    async def _widened(self, found: Assembled, pack: Pack | None) -> Assembled:
        """The same with more memories, if it still fits: the parts were counted too high."""
        if pack is None or pack == found.pack:
            return found
        wider = await self._joined(found.dropped, pack)
        assert wider.tokens is not None  # noqa: S101 - a joined prompt is counted
        return wider if wider.tokens.value <= self._budget.prompt else found

    async def _joined(self, dropped: int, pack: Pack | None) -> Assembled:
        messages = self._parts.join(dropped, pack)
        tokens = await self._engine.count_tokens(messages)
        counter = self._engine.counter
        return Assembled(messages, tokens, dropped, pack, self._budget, counter)


def _part_of(step: Sequence[int], first: int, room: int) -> tuple[int, int]:
    """The cut inside the newest step, whose whole is too large: at half of it, else anywhere, else
    after all of it. first: the number of its first exchange."""
    for stride in (STEP // 2, 1):
        for cut in range(stride, len(step), stride):
            if sum(step[cut:]) <= room:
                return first + cut, sum(step[cut:])
    return first + len(step), 0


def _overflow(track: Track, budget: TokenBudget, tokens: TokenCount) -> EngineError:
    about = "" if tokens.exact else "about "
    error = EngineError(
        ErrorKind.CONTEXT_OVERFLOW,
        f"system prompt and message take {about}{tokens.value} tokens; the window of "
        f"{budget.window} less {budget.reply_reserve} for the reply leaves {budget.prompt}",
        engine=track.engine.name,
        model=track.engine.model,
        suggestion=f"Shorten the message by {about}{tokens.value - budget.prompt} tokens, or use "
        "a track with a larger window.",
    )
    error.track = track.name
    return error
