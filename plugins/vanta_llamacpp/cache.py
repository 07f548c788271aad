"""Which tokens stand in the KV cache, sequence by sequence, and what of them can be kept.

Invariant: what a sequence is said to hold is what llama.cpp holds for it; where the two could
differ (a decode failed), `rewind` cuts both to a length that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SequenceCache:
    """One sequence of the context. `reuse` False forgets everything before each prompt."""

    def __init__(self, lib: Any, context: Any, *, sequence: int, reuse: bool) -> None:
        self._lib = lib
        self._memory = lib.llama_get_memory(context)
        self._reuse = reuse
        self.sequence = sequence
        self.tokens: list[int] = []

    def claim(self, prompt: Sequence[int]) -> int:
        """Keep what `prompt` begins with, drop the rest; returns how many tokens are kept.

        The last token of a prompt is never kept: its logits are what the answer starts from.
        """
        kept = common_prefix(self.tokens, prompt[:-1]) if self._reuse else 0
        return self.rewind(kept)

    def rewind(self, length: int) -> int:
        """Cut to `length` tokens, or to none where the model's memory cannot be cut (recurrent
        ones cannot); returns what is left."""
        kept = length
        if not self._lib.llama_memory_seq_rm(self._memory, self.sequence, length, -1):
            self._lib.llama_memory_seq_rm(self._memory, self.sequence, -1, -1)
            kept = 0
        del self.tokens[kept:]
        return kept

    def grew(self, tokens: Sequence[int]) -> None:
        """`tokens` were decoded at the end of the sequence."""
        self.tokens.extend(tokens)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts share at their beginning."""
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
