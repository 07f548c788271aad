"""A `llama_batch`: the tokens of one step.

Each token has its position, its sequence, and a flag that requests its output (logits, or the
hidden state of an embedding). Invariant: a batch never holds more tokens than its capacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Batch:
    """A reusable batch. The worker fills, decodes and clears it for every step.

    :param lib: the native library.
    :param capacity: the maximum number of tokens of a step.
    """

    def __init__(self, lib: Any, capacity: int) -> None:
        self._lib = lib
        self.capacity = capacity
        self.native = lib.llama_batch_init(capacity, 0, 1)
        self.native.n_tokens = 0

    def clear(self) -> None:
        """Remove the tokens of the last step."""
        self.native.n_tokens = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, *, logits: bool) -> int:
        """Append consecutive tokens of one sequence.

        :param tokens: at least one token id.
        :param position: the position of the first token in its sequence.
        :param sequence: the number of the sequence.
        :param logits: whether to request the logits of the last token.
        :returns: the index of the last token in the batch.
        :raises ValueError: if the batch has no room for the tokens.
        """
        batch = self.native
        first = batch.n_tokens
        if first + len(tokens) > self.capacity:
            raise ValueError(f"a batch of {self.capacity} cannot hold {first + len(tokens)} tokens")
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

    def request_all_outputs(self) -> None:
        """Request the output of every token, as pooling needs it."""
        for index in range(self.native.n_tokens):
            self.native.logits[index] = 1

    def close(self) -> None:
        """Free the batch; called once."""
        self._lib.llama_batch_free(self.native)
