"""What a server says when a prompt is too long: its window and what it counted.

Servers word it differently and only some tell numbers; these are the words of OpenAI, vLLM,
llama-server, TGI, LM Studio, Mistral, Anthropic, OpenRouter and vanta's own engines. Invariant:
pure; a number that is not told is None, and nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
class Refusal:
    """Numbers of a `context_overflow`, in the server's tokens: its window, the prompt that it
    refused, and what the reply was to have; None for what it did not tell."""

    window: int | None = None
    prompt: int | None = None
    reply: int | None = None


def read_refusal(message: str) -> Refusal:
    """The numbers in an error's message."""
    return Refusal(_first(_WINDOW, message), _first(_PROMPT, message), _first(_REPLY, message))


def _first(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    if found is None:
        return None
    digits = next(group for group in found.groups() if group)
    return int(digits.replace(",", "").replace("_", "")) or None
