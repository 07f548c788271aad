"""What two sequences hold, swapped: llama.cpp's states of them, taken out and put in.

llama.cpp itself only copies, whole windows however little is in them, and in its next step; a state
is as long as what is held, and moves at once.

Invariant: between calls no sequence is half written, and what is put in is what was taken out. Not
for models with sliding windows: llama.cpp leaves out of their states what the window has passed
(llama-kv-cache.cpp, state_write), and the sequence could not be cut any more.
"""

from __future__ import annotations

import ctypes
from typing import Any

KEPT_BYTES = 32 << 20
"""Of a buffer that is kept for the next time: fresh memory costs more than the copying."""
MOST_BYTES = 256 << 20
"""Of a state that is carried: what is larger takes too long, and memory that nobody planned for."""


class Carrier:
    """Swaps the sequences of one context; used by the worker alone."""

    def __init__(self, lib: Any, context: Any) -> None:
        self._lib = lib
        self._context = context
        self._kept: list[Any] = [(ctypes.c_uint8 * 0)(), (ctypes.c_uint8 * 0)()]

    def swap(self, first: int, second: int) -> bool:
        """Give each what the other holds. False if it is too large: nothing is changed then.
        Raises RuntimeError if llama.cpp does not take back what it gave."""
        ones, others = self._take(first, 0), self._take(second, 1)
        if ones is None or others is None:
            return False
        self._empty(first)
        self._empty(second)
        if not (self._put(ones, second) and self._put(others, first)):
            raise RuntimeError(f"the sequences {first} and {second} were lost in a swap")
        return True

    def _take(self, sequence: int, buffer: int) -> tuple[Any, int] | None:
        """The state and its bytes, in one of the two buffers."""
        size = int(self._lib.llama_state_seq_get_size(self._context, sequence))
        if not 0 < size <= MOST_BYTES:
            return None
        try:
            room = self._room(size, buffer)
        except MemoryError:
            return None
        taken = self._lib.llama_state_seq_get_data(self._context, room, size, sequence)
        return (room, size) if taken == size else None

    def _room(self, size: int, buffer: int) -> Any:
        kept = self._kept[buffer]
        if len(kept) < size:
            kept = (ctypes.c_uint8 * size)()
            if size <= KEPT_BYTES:
                self._kept[buffer] = kept
        return kept

    def _put(self, state: tuple[Any, int], sequence: int) -> bool:
        return bool(self._lib.llama_state_seq_set_data(self._context, *state, sequence))

    def _empty(self, sequence: int) -> None:
        memory = self._lib.llama_get_memory(self._context)
        self._lib.llama_memory_seq_rm(memory, sequence, -1, -1)
