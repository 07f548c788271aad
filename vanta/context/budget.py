"""The token budget of a track's prompt, and what a server reports when a prompt exceeds it.

Servers word the error differently and only some report numbers. The patterns here cover OpenAI,
vLLM, llama-server, TGI, LM Studio, Mistral, Anthropic, OpenRouter and vanta's own engines.

Invariant: prompt + reply reserve <= window. What one part does not use of its share is available to
a part that would have to drop something. A number that a server does not report is None; nothing is
guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SEARCHED_CHARACTERS = 2_000
"""The beginning of a server's message, in which its numbers are searched."""

MEMORY_MOST = 4096
"""Most tokens that memories take, however large the window is."""

TOOLS_MOST = 8192
"""Most tokens that the schemas of tools take, unless the configuration says otherwise."""


@dataclass(frozen=True, slots=True)
class BudgetShares:
    """How a prompt is divided. What tools take is deducted first; of the rest, history has what
    system prompt and memories leave.

    :param system: share of the system prompt, 0 to 1. The system prompt is never cut.
    :param memory: share of the recalled memories, 0 to 1; 0 for no memories.
    :param tools: most of the whole prompt that the schemas of tools take, 0 to 1.
    :param tools_most: most tokens that these take, however large the window is.
    :raises ValueError: if a share is negative or their sum exceeds 1.
    """

    system: float = 0.15
    memory: float = 0.25
    tools: float = 0.25
    tools_most: int = TOOLS_MOST

    def __post_init__(self) -> None:
        if min(self.system, self.memory) < 0 or self.system + self.memory > 1:
            raise ValueError(
                f"shares of a prompt must be at least 0 and their sum at most 1, not "
                f"{self.system:g} for the system prompt and {self.memory:g} for memories"
            )
        if not 0 <= self.tools <= 1:
            raise ValueError(f"the share of tools must be between 0 and 1, not {self.tools:g}")

    @property
    def history(self) -> float:
        """The share of past exchanges."""
        return 1.0 - self.system - self.memory


DEFAULT_SHARES = BudgetShares()


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """A track's window, and how much of it is reserved for the reply, in tokens.

    System prompt and message are never cut. The rest is divided between history and memory in the
    ratio of their shares, so both gain what the system prompt does not use and lose what it takes
    beyond its share. History is cut to its part. If it had to be cut, memories may use all that it
    leaves, up to `memory_most`. Otherwise they keep to their part, because a longer prompt costs
    time and money. History gets nothing of what memories leave in one turn: it would have to be
    cut again, and the engine's KV cache with it, in the next turn that recalls more. Without memory
    it has everything.

    The schemas of tools stand beside the messages. They are chosen first, within `tool_room`, and
    messages have what they leave.

    :param window: context window.
    :param reply_reserve: tokens reserved for the reply.
    :param shares: how the prompt is divided.
    :param memory_most: most tokens that memories take.
    :param tools: tokens of the schemas of the tools that are shown.
    """

    window: int
    reply_reserve: int
    shares: BudgetShares = DEFAULT_SHARES
    memory_most: int = MEMORY_MOST
    tools: int = 0

    @property
    def prompt(self) -> int:
        """The tokens that the messages may take; never negative."""
        return max(0, self.window - self.reply_reserve - self.tools)

    @property
    def tool_room(self) -> int:
        """The tokens that the schemas of tools may take."""
        share = int(self.shares.tools * max(0, self.window - self.reply_reserve))
        return min(self.shares.tools_most, share)

    def memory_reserve(self, whole: int) -> int:
        """Return the tokens that history leaves to memories.

        :param whole: tokens of the system prompt and the message, which are never cut.
        """
        rest = max(0, self.prompt - whole)
        divided = self.shares.memory + self.shares.history
        part = rest * self.shares.memory / divided if divided else 0.0
        return min(self.memory_most, int(part))


MOST_DIGITS = 9
"""Digits of a token count; longer numbers in an error message are ignored."""

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
    """The numbers of a `context_overflow`, in the server's tokens; None if it is not reported.

    :param window: the server's context window.
    :param prompt: tokens of the prompt that was refused.
    :param reply: tokens requested for the reply.
    """

    window: int | None = None
    prompt: int | None = None
    reply: int | None = None


def read_overflow(message: str) -> OverflowReport:
    """Read the numbers in the message of a `context_overflow`.

    :param message: the server's error message.
    :returns: the numbers that it reports.
    """
    message = message[:SEARCHED_CHARACTERS]  # digits without an end would be searched many times
    return OverflowReport(
        window=_first(_WINDOW, message),
        prompt=_first(_PROMPT, message),
        reply=_first(_REPLY, message),
    )


def _first(pattern: re.Pattern[str], message: str) -> int | None:
    match = pattern.search(message)
    if match is None:
        return None
    digits = next(group for group in match.groups() if group).replace(",", "").replace("_", "")
    # A longer number is no count of tokens, and would overflow what is computed with it.
    return (int(digits) or None) if len(digits) <= MOST_DIGITS else None
