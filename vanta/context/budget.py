"""How many tokens a track's prompt may take, and who has which share of them.

Invariant: prompt + reply reserve <= window; what a part does not use of its share, another gets
where it has to leave something out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MEMORY_MOST = 4096
"""Tokens that memories take at the most, however large the window is."""


@dataclass(frozen=True, slots=True)
class BudgetShares:
    """How a prompt is divided; history has what the other two leave of 1.

    system: of the system prompt, which is never cut. memory: of the recalled memories; 0 for none
    at all. Raises ValueError where these are no shares.
    """

    system: float = 0.15
    memory: float = 0.25

    def __post_init__(self) -> None:
        if min(self.system, self.memory) < 0 or self.system + self.memory > 1:
            raise ValueError(
                f"shares of a prompt have to be 0 or more and together 1 at the most, not "
                f"{self.system:g} for the system prompt and {self.memory:g} for memories"
            )

    @property
    def history(self) -> float:
        """The share of past exchanges."""
        return 1.0 - self.system - self.memory


DEFAULT_SHARES = BudgetShares()


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """A track's window and what of it is kept free for the reply, in tokens.

    System prompt and message stand whole. What they leave is divided between history and memory
    in the ratio of their shares, so that what the system prompt does not use of its own goes to
    both, and what it takes beyond comes from both. History is cut to its part; where it had to be
    cut, memories get all that it then leaves, up to `memory_most`. Where nothing had to be cut they
    keep to their part, however much room there is: a prompt that is longer than it need be takes
    time to read, and money. History gets nothing of what memories leave in one turn, since it would
    have to be cut again, and the engine's KV cache with it, in the next turn that remembers more:
    where memory is off, it has everything.
    """

    window: int
    reply_reserve: int
    shares: BudgetShares = DEFAULT_SHARES
    memory_most: int = MEMORY_MOST

    @property
    def prompt(self) -> int:
        """The tokens that the prompt may take; never negative."""
        return max(0, self.window - self.reply_reserve)

    def memory_reserve(self, whole: int) -> int:
        """What history leaves to memories, if what stands whole takes `whole` tokens."""
        rest = max(0, self.prompt - whole)
        divided = self.shares.memory + self.shares.history
        part = rest * self.shares.memory / divided if divided else 0.0
        return min(self.memory_most, int(part))


_N = r"(\d[\d,_]*)"
_WINDOW = re.compile(
    rf"context (?:length|size|window)(?: is| of| \(|:)?(?: only| at most)? ?{_N}"
    rf"|{_N} maximum context length"
    rf"|must be <= {_N}"
    rf"|tokens > {_N} maximum"
    rf"|window (?:of |is )?{_N}",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    rf"{_N} in the messages"
    rf"|{_N} of text input"
    rf"|{_N} input tokens"
    rf"|{_N} `inputs` tokens"
    rf"|messages resulted in {_N}"
    rf"|request \({_N} tokens"
    rf"|prompt (?:has|contains) {_N}"
    rf"|prompt is too long: {_N}"
    rf"|the first {_N} tokens",
    re.IGNORECASE,
)
_REPLY = re.compile(
    rf"{_N} in the (?:completion|output)|{_N} `max_new_tokens`|too large: {_N}", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class OverflowReport:
    """Numbers of a `context_overflow`, in the server's tokens: its window, the prompt that it
    refused, and what the reply was to have; None for what it did not tell."""

    window: int | None = None
    prompt: int | None = None
    reply: int | None = None


def read_overflow(message: str) -> OverflowReport:
    """The numbers in an error's message."""
    return OverflowReport(
        _first(_WINDOW, message), _first(_PROMPT, message), _first(_REPLY, message)
    )


def _first(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    if found is None:
        return None
    digits = next(group for group in found.groups() if group)
    return int(digits.replace(",", "").replace("_", "")) or None
