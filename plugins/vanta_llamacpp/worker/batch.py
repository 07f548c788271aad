"""A llama_batch: the tokens of one step, each with its position, its sequence, and whether logits
are wanted for it.

Invariant: never holds more than it was made for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Batch:
    """Room for `capacity` tokens; the worker fills it, decodes it, clears it, over and over."""

    def __init__(self, lib: Any, capacity: int) -> None:
        self._lib = lib
        self.capacity = capacity
        self.native = lib.llama_batch_init(capacity, 0, 1)
        self.native.n_tokens = 0

    def clear(self) -> None:
        """Forget the tokens of the last step."""
        self.native.n_tokens = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, *, logits: bool) -> int:
        """Append `tokens` from `position` on; `logits` asks for those of the last.

        Returns the index of that last token in the batch.
        """
        batch = self.native
        first = batch.n_tokens
        if first + len(tokens) > self.capacity:
            raise ValueError(f"a batch of {self.capacity} cannot take {first + len(tokens)} tokens")
        for offset, token in enumerate(tokens):
            index = first + offset
            batch.token[index] = token
            batch.pos[index] = position + offset
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = 0
        last = first + len(tokens) - 1
        batch.logits[last] = logits
        batch.n_tokens = last + 1
        return int(last)

    def close(self) -> None:
        """Free it."""
        self._lib.llama_batch_free(self.native)
