"""Assembly: what a track sees in a turn, inside its token budget.

The order keeps a local engine's KV prefix alive from turn to turn: system, then history, which
only grows at its end, then the message. History is cut at its old end, in whole exchanges and in
steps of `STEP` of them, so that the cut moves rarely. Invariant: what is assembled takes no more
than the budget by the engine's own count; what cannot fit is a `context_overflow` that says by how
many tokens, raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vanta.context.budget import TokenBudget
from vanta.engine import TokenCount
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Message
from vanta.track import Track

STEP = 4
"""Exchanges that leave the history together once it has to be cut."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One past turn: the message and its reply. A private one is for private tracks alone. turn:
    the turn's id."""

    messages: tuple[Message, ...]
    private: bool = False
    turn: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A prompt that fits. tokens: its count, None where the track's window is unknown and nothing
    was counted. dropped: exchanges that were left out for want of room."""

    messages: tuple[Message, ...]
    tokens: TokenCount | None
    dropped: int


async def assemble(
    track: Track, system: str, history: Sequence[Exchange], tail: Sequence[Message]
) -> Assembled:
    """Put a track's prompt together: `system`, as much of `history` as fits, and `tail` whole.

    Raises EngineError: context_overflow if the prompt does not fit without any history, and
    whatever the engine's `count_tokens` raises.
    """
    head = (Message("system", system),) if system else ()
    visible = [exchange for exchange in history if track.private or not exchange.private]
    window = track.window or track.engine.window
    if window is None:
        return Assembled(_join(head, visible, tail), None, 0)
    budget = TokenBudget(window, track.reply_reserve)
    for dropped in _cuts(len(visible)):
        messages = _join(head, visible[dropped:], tail)
        tokens = await track.engine.count_tokens(messages)
        if tokens.value <= budget.prompt:
            return Assembled(messages, tokens, dropped)
    raise _overflow(track, budget, await track.engine.count_tokens(_join(head, [], tail)))


def _cuts(exchanges: int) -> list[int]:
    """The numbers of exchanges to leave out, in the order to try them."""
    return [*range(0, exchanges, STEP), exchanges] if exchanges else [0]


def _join(
    head: Sequence[Message], history: Sequence[Exchange], tail: Sequence[Message]
) -> tuple[Message, ...]:
    past = [message for exchange in history for message in exchange.messages]
    return (*head, *past, *tail)


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
