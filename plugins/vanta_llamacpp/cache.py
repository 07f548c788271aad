"""Which tokens stand in the KV cache, sequence by sequence, and what of them can be kept.

Floating point makes the same token's entry differ a little with the shape of the step that computed
it, and near ties then fall otherwise. So only whole steps of a prompt are kept for the next one, at
the positions where it would take the same steps: with and without the cache the same numbers come
out, bit for bit. What was generated token by token is read anew.

Invariant: what a sequence is said to hold is what llama.cpp holds for it; where the two could
differ (a decode failed), `rewind` cuts both to a length that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SequenceCache:
    """One sequence of the context. step: tokens of a whole step of a prompt. reuse: False forgets
    everything before each prompt."""

    def __init__(self, lib: Any, context: Any, *, sequence: int, step: int, reuse: bool) -> None:
        self._lib = lib
        self._memory = lib.llama_get_memory(context)
        self._step = step
        self._reuse = reuse
        self._exact = 0
        self.sequence = sequence
        self.tokens: list[int] = []

    def claim(self, prompt: Sequence[int]) -> int:
        """Keep what `prompt` begins with, drop the rest; returns how many tokens are kept.

        The last token of a prompt is never kept: its logits are what the answer starts from.
        """
        shared = common_prefix(self.tokens[: self._exact], prompt[:-1]) if self._reuse else 0
        return self.rewind(shared - shared % self._step)

    def rewind(self, length: int) -> int:
        """Cut to `length` tokens, or to none where the model's memory cannot be cut (recurrent
        ones cannot); returns what is left."""
        kept = length
        if not self._lib.llama_memory_seq_rm(self._memory, self.sequence, length, -1):
            self._lib.llama_memory_seq_rm(self._memory, self.sequence, -1, -1)
            kept = 0
        del self.tokens[kept:]
        self._exact = min(self._exact, kept - kept % self._step)
        return kept

    def grew(self, tokens: Sequence[int]) -> None:
        """`tokens` were decoded in one step at the end of the sequence."""
        if len(tokens) == self._step and len(self.tokens) == self._exact:
            self._exact += self._step
        self.tokens.extend(tokens)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts share at their beginning."""
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
