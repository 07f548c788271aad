"""A track: a named place in the race, one engine, one model, and its limits.

Invariant: a track is frozen; its engine is the only thing in it that lives.
"""

from __future__ import annotations

from dataclasses import dataclass

from vanta.engine import Engine, Sampling
from vanta.messages import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens cost, in USD for a million of them."""

    input_usd_per_mtok: float = 0.0
    output_usd_per_mtok: float = 0.0

    def of(self, usage: Usage | None) -> float:
        """The price of `usage` in USD; nothing used costs nothing."""
        if usage is None:
            return 0.0
        return self.of_tokens(usage.input_tokens, usage.output_tokens)

    def of_tokens(self, input_tokens: int, output_tokens: int) -> float:
        """The price of so many tokens in USD."""
        spent = input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok
        return spent / 1_000_000


@dataclass(frozen=True, slots=True)
class Track:
    """One engine in its place.

    window: tokens that prompt and reply share, None for the engine's own. reply_reserve: tokens of
    the window kept free for the reply. private: whether what is said here stays on this machine.
    sampling: defaults for every request.
    """

    name: str
    engine: Engine
    window: int | None = None
    reply_reserve: int = 512
    private: bool = False
    price: Price = Price()
    sampling: Sampling = Sampling()
