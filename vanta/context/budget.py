"""How many tokens a track's prompt may take.

Invariant: prompt + reply reserve <= window.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """A track's window and what of it is kept free for the reply, in tokens."""

    window: int
    reply_reserve: int

    @property
    def prompt(self) -> int:
        """The tokens that the prompt may take; never negative."""
        return max(0, self.window - self.reply_reserve)
