"""Assembles the prompt of a track in a turn, within its token budget.

The order keeps a local engine's KV prefix valid from turn to turn: system prompt, then history,
which only grows at its end, then the recalled memories in one block at the head of the message.
History is cut at its old end, in whole exchanges and in steps of `STEP` exchanges (smaller ones if
a step does not fit), so that the cut moves rarely. The cut depends on the texts alone: it is the
first at which history fits into what system prompt, message and memory reserve leave, whatever was
recalled. A turn's message is part of the next turn's history, so a cut is never taken back, and
prompts of consecutive turns share their history except for a step.

Invariant: a prompt never exceeds the budget by the engine's own count of the whole. What cannot fit
is a `context_overflow` that states the excess, raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vanta.bounds import CHARACTERS_PER_TOKEN, FREE_CHARACTERS, MOST_CHARACTERS
from vanta.context.budget import BudgetShares, TokenBudget
from vanta.context.images import show_images
from vanta.context.memories import Memories, Pack, Packer
from vanta.context.token_cache import TokenCache, token_cache_of
from vanta.context.usage_check import LONGEST_TOKEN_BYTES
from vanta.engine import TokenCount
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Exchange, Message
from vanta.track import Track

STEP = 4
"""Exchanges that are cut from the history together."""

COUNTED_AT_ONCE = 8
"""Steps of history that are counted in one call, from its new end."""

BLIND_ROOM = 1024
"""Tokens for memories if the window is unknown."""

COUNTED_WHOLE = 65_536
"""Characters up to which system prompt and message are counted as a whole at once."""

SLICE_CHARACTERS = 32_768
SLICES_EXCEED = 1.1
"""What is longer is counted in slices first, and refused as soon as they exceed the budget by more
than a tenth: slices of a text may have more tokens than the text."""

SLACK = 0.01
"""Share of the prompt budget; if more than this is left, memories are packed again."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A prompt that fits.

    :param messages: the prompt.
    :param tokens: its count, None if the window is unknown and the whole was not counted.
    :param dropped: number of exchanges that did not fit.
    :param pack: the memories in it, None for none.
    :param budget: the budget, None if the window is unknown.
    :param counter: name of what counted.
    """

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
    tools: int = 0,
) -> Assembled:
    """Assemble a track's prompt: system prompt, as much history as fits, memories, and `tail`.

    A track whose model cannot see has a line of text in the place of each image.

    :param track: the track that is prompted.
    :param system: the system prompt, "" for none.
    :param history: past exchanges, oldest first. A track that is not private sees no private ones.
    :param tail: messages that are never cut; memories stand at the head of the first one.
    :param memories: the turn's matches, None for none.
    :param shares: how the prompt is divided; None for no memories.
    :param window: context window in tokens that replaces the track's own.
    :param tools: tokens of the window that the schemas of tools take.
    :returns: the prompt.
    :raises EngineError: `context_overflow` if the prompt does not fit without any history, or if
        the engine cannot count.
    """
    shares = shares or BudgetShares(memory=0.0)
    cache = token_cache_of(track.engine)
    window = window or cache.window(track.window or track.engine.window)
    head = (Message("system", system),) if system else ()
    visible = [exchange for exchange in history if track.private or not exchange.private]
    can_see = track.engine.capabilities.images
    parts = _Parts(track, head, *show_images(visible, tail, can_see=can_see))
    packer = Packer(track, memories, cache) if memories and shares.memory else None
    if window is None:
        return await _uncut(parts, packer)
    budget = TokenBudget(window, track.reply_reserve, shares, tools=tools)
    return await _Assembly(parts, budget, packer).run()


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a prompt, with the history that the track may see."""

    track: Track
    head: tuple[Message, ...]
    history: Sequence[Exchange]
    tail: tuple[Message, ...]

    def join(self, dropped: int, pack: Pack | None) -> tuple[Message, ...]:
        past = [message for exchange in self.history[dropped:] for message in exchange.messages]
        first, *rest = self.tail
        return (*self.head, *past, pack.put_before(first) if pack else first, *rest)

    @property
    def whole(self) -> tuple[Message, ...]:
        """What is never cut."""
        return (*self.head, *self.tail)

    def turns(self, dropped: int) -> frozenset[str]:
        return frozenset(exchange.turn for exchange in self.history[dropped:] if exchange.turn)


async def _uncut(parts: _Parts, packer: Packer | None) -> Assembled:
    """Return a prompt with all of the history and a bounded block, for an unknown window."""
    left = MOST_CHARACTERS - _size(parts.whole)
    if left < 0:
        raise _too_large(parts.track, _size(parts.whole), f"at most {MOST_CHARACTERS} are sent")
    dropped = len(parts.history)
    while dropped and (left := left - _size(parts.history[dropped - 1].messages)) >= 0:
        dropped -= 1
    turns = parts.turns(dropped)
    pack = await packer.pack(BLIND_ROOM, turns, fell_out=dropped > 0) if packer else None
    counter = parts.track.engine.counter
    return Assembled(parts.join(dropped, pack), None, dropped, pack, counter=counter)


class _Assembly:
    """One prompt within a budget: parts predict its size, the count of the whole decides."""

    def __init__(self, parts: _Parts, budget: TokenBudget, packer: Packer | None) -> None:
        self._parts = parts
        self._budget = budget
        self._packer = packer
        self._engine = parts.track.engine
        self._cache: TokenCache = token_cache_of(self._engine)

    async def run(self) -> Assembled:
        """Return the prompt. Raises EngineError."""
        await self._require_room()
        whole = await self._whole()
        reserve = self._budget.memory_reserve(whole) if self._packer else 0
        dropped, past = await self._cut(self._budget.prompt - whole - reserve)
        room = self._budget.prompt - whole - past
        room = room if dropped else min(room, reserve)
        pack = await self._pack(room, dropped)
        fitted = await self._fit(dropped, pack)
        if not dropped or self._packer is None or fitted.dropped != dropped or not fitted.tokens:
            return fitted
        left = self._budget.prompt - fitted.tokens.value
        unforeseen = min(left, whole + past + (pack.tokens if pack else 0) - fitted.tokens.value)
        if unforeseen <= SLACK * self._budget.prompt:
            return fitted
        return await self._widened(fitted, await self._pack(room + unforeseen, dropped))

    async def _require_room(self) -> None:
        """Refuse what is never cut if it cannot fit, without counting all of it.

        Its size decides at once. Otherwise slices are counted, at most as many as fill the window.
        """
        track, budget, size = self._parts.track, self._budget, _size(self._parts.whole)
        if size > LONGEST_TOKEN_BYTES * budget.prompt:
            raise _too_large(track, size, f"the window of {budget.window} tokens holds fewer")
        if size <= COUNTED_WHOLE:
            return
        seen = tokens = 0
        for message in self._parts.whole:
            for start in range(0, len(message.content), SLICE_CHARACTERS):
                part = message.content[start : start + SLICE_CHARACTERS]
                (count,) = await self._engine.count_texts([part])
                seen, tokens = seen + len(part), tokens + count.value
                if tokens > SLICES_EXCEED * budget.prompt:
                    raise _overflow(track, budget, TokenCount(tokens * size // seen, exact=False))

    async def _whole(self) -> int:
        """Return the tokens of what is never cut: system prompt, tail, opening of the reply."""
        parts = self._parts
        counts = await self._cache.messages(self._engine, parts.whole)
        return sum(counts) + await self._cache.opening(self._engine, system=bool(parts.head))

    async def _cut(self, room: int) -> tuple[int, int]:
        """Return the number of exchanges to drop, and the tokens of the others.

        Counts from the new end, as far as `room` reaches.
        """
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
        most = FREE_CHARACTERS + CHARACTERS_PER_TOKEN * self._budget.prompt
        small = [item for item in exchanges if _size(item.messages) <= most]
        messages = [message for exchange in small for message in exchange.messages]
        counts = iter(await self._cache.messages(self._engine, messages))
        costs = {id(item): sum(next(counts) for _ in item.messages) for item in small}
        return [costs.get(id(item), self._budget.prompt + 1) for item in exchanges]

    async def _pack(self, room: int, dropped: int) -> Pack | None:
        if self._packer is None:
            return None
        room = min(room, self._budget.memory_most)
        return await self._packer.pack(room, self._parts.turns(dropped), fell_out=dropped > 0)

    async def _fit(self, dropped: int, pack: Pack | None) -> Assembled:
        """Count the whole, and remove memories, then steps of history, until it fits."""
        history, saved = len(self._parts.history), 0
        while True:
            joined = await self._joined(dropped, pack)
            assert joined.tokens is not None  # noqa: S101 - a joined prompt is counted
            over = joined.tokens.value - self._budget.prompt
            if over <= 0:
                return joined
            if pack:
                saved = max(over, 2 * saved)
                pack = pack.without(saved)
            elif dropped < history:
                dropped += STEP if history - dropped > STEP else 1
            else:
                raise _overflow(self._parts.track, self._budget, joined.tokens)

    async def _widened(self, fitted: Assembled, pack: Pack | None) -> Assembled:
        """Return the prompt with more memories if it still fits: its parts were overcounted."""
        if pack is None or pack == fitted.pack:
            return fitted
        wider = await self._joined(fitted.dropped, pack)
        assert wider.tokens is not None  # noqa: S101 - a joined prompt is counted
        return wider if wider.tokens.value <= self._budget.prompt else fitted

    async def _joined(self, dropped: int, pack: Pack | None) -> Assembled:
        messages = self._parts.join(dropped, pack)
        tokens = await self._engine.count_tokens(messages)
        counter = self._engine.counter
        return Assembled(messages, tokens, dropped, pack, self._budget, counter)


def _part_of(step: Sequence[int], first: int, room: int) -> tuple[int, int]:
    """Return the cut inside the newest step, which is too large as a whole, and what is left.

    The cut is at half of the step if that fits, otherwise anywhere, otherwise after all of it.

    :param first: number of the step's first exchange.
    """
    for stride in (STEP // 2, 1):
        for cut in range(stride, len(step), stride):
            if sum(step[cut:]) <= room:
                return first + cut, sum(step[cut:])
    return first + len(step), 0


def _size(messages: Sequence[Message]) -> int:
    """Return the characters of messages, tool calls included."""
    calls = (call for message in messages for call in message.tool_calls)
    return sum(len(message.content) for message in messages) + sum(
        len(call.name) + len(call.arguments) for call in calls
    )


def _too_large(track: Track, size: int, why: str) -> EngineError:
    return track.error(
        ErrorKind.CONTEXT_OVERFLOW,
        f"system prompt and message have {size} characters; {why}",
        "Shorten the message, or add it to memory as a document.",
    )


def _overflow(track: Track, budget: TokenBudget, tokens: TokenCount) -> EngineError:
    about = "" if tokens.exact else "about "
    tools = f" and {budget.tools} for tools" if budget.tools else ""
    return track.error(
        ErrorKind.CONTEXT_OVERFLOW,
        f"system prompt and message take {about}{tokens.value} tokens; the window of "
        f"{budget.window} less {budget.reply_reserve} for the reply{tools} leaves {budget.prompt}",
        f"Shorten the message by {about}{tokens.value - budget.prompt} tokens, or use a track "
        "with a larger window.",
    )
