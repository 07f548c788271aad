"""The sequences of the KV cache: the tokens of each, its last session, and what can be reused.

A cached entry can depend, to the last bit, on the shape of the step that computed it: a CPU
multiplies one row with another routine than several. Steps that are `exact` compute every row
alike. Entries from exact steps are reused for the next prompt of the same session or, copied, of
any other session of the same scope (see `GenerationRequest.scope`). Another scope reuses no more
than the tokens that are common to all, since a fast answer would show what others wrote. Entries
after an inexact step, such as a reply decoded token by token, are computed again. The answer is the
same with and without the cache.

If prefixes are saved to disk (see `kv_disk`), the prefix of a session is written when its slot is
given to another session, during pauses once it has grown by SAVE_STEP, and at the end. It is read
when no slot holds as much.

Invariants: `Slot.tokens` is what llama.cpp holds for the slot; a busy slot is not given away, and
only its request cuts it; a request finds nothing of another scope beyond the common tokens.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vanta_llamacpp.model.kv_disk import SavedPrefixes

EXACT_ROWS = 4
"""The fewest tokens of one sequence that make a step exact.

From here on ggml's matrix routines replace its routine for single rows
(ggml-cpu/llamafile/sgemm.cpp: 2 on x86, 4 on ARM). Without flash attention their sums depend on
nothing else.
"""
SAVE_STEP = 256
"""Exact tokens by which a session grows before it is saved again."""
BUFFER_BYTES = 32 << 20
"""The largest swap buffer that is kept: allocating fresh memory costs more than the copy."""
MAX_STATE_BYTES = 256 << 20
"""The largest state that is swapped: more takes too long, and memory outside the plan."""


@dataclass(frozen=True, slots=True)
class PromptOwner:
    """Whose prompt some tokens are.

    :param session: the session whose KV cache to reuse; "" for none.
    :param scope: whose text it is.
    :param common: how many of the first tokens are no user's.
    """

    session: str = ""
    scope: str = ""
    common: int = 0

    def shares_with(self, other: PromptOwner, limit: int) -> int:
        """Return how many of `limit` equal tokens the other's request may reuse."""
        return limit if self.scope == other.scope else min(limit, self.common, other.common)

    @property
    def key(self) -> str:
        """The name of the session, unique for its scope."""
        return f"{len(self.scope)} {self.scope} {self.session}"


NO_OWNER = PromptOwner()


@dataclass(slots=True, eq=False)
class Slot:
    """One sequence of the KV cache.

    :param sequence: its number in llama.cpp.
    :param exact: how many of `tokens` come from exact steps.
    :param owner: whose prompt the tokens are; without a session once they are forgotten.
    :param used_at: a counter that orders slots by their last use.
    :param saved: how many of `tokens` are on disk.
    :param copied: llama.cpp copies the tokens in its next step.
    :param forgotten: other requests must not find the tokens; `release` removes them.
    """

    sequence: int
    tokens: list[int] = field(default_factory=list)
    exact: int = 0
    owner: PromptOwner = NO_OWNER
    used_at: int = 0
    busy: bool = False
    saved: int = 0
    copied: bool = False
    forgotten: bool = False


class Slots:
    """All sequences of one context.

    :param count: the number of sequences.
    :param reuse: False computes every prompt anew.
    :param disk: the saved prefixes, or None.
    :param sliding: the model has sliding windows. The states of its sequences are not whole (see
        `SequenceSwapper`), so they are neither saved nor swapped.
    """

    def __init__(
        self,
        lib: Any,
        context: Any,
        *,
        count: int,
        reuse: bool,
        disk: SavedPrefixes | None = None,
        sliding: bool = False,
    ) -> None:
        self.disk = disk if reuse and not sliding else None
        self._sliding = sliding
        self._lib = lib
        self._memory = lib.llama_get_memory(context)
        self._swapper = SequenceSwapper(lib, context)
        self._reuse = reuse
        self._clock = 0
        self.evictions = 0
        self.all = tuple(Slot(number) for number in range(count))

    @property
    def idle(self) -> list[Slot]:
        """Return the slots that no request uses."""
        return [slot for slot in self.all if not slot.busy]

    def cached(self, prompt: Sequence[int], owner: PromptOwner) -> int:
        """Return how many tokens at the start of the owner's prompt can be reused."""
        return self._longest(prompt, owner)[1]

    def acquire(self, prompt: Sequence[int], owner: PromptOwner) -> tuple[Slot, int]:
        """Make an idle slot busy for `prompt`. There must be one.

        Prefers the session's own slot, then the least recently used one, which is evicted. The
        longest shared prefix is copied from other slots. At least EXACT_ROWS tokens remain to be
        prefilled, since fewer would make an inexact step.

        :returns: the slot, and how many tokens of the prompt it holds already.
        """
        source, shared = self._longest(prompt, owner)
        slot = self._choose_slot(owner, source)
        before = slot.owner
        if before.key != owner.key:
            self._save(slot)
            slot.saved = 0
        if self._restore(slot, prompt, owner, shared):
            source, shared = self._longest(prompt, owner)
        own = self._shared(slot, prompt, owner)
        if source is not None and source is not slot and shared > own:
            self._copy(source, slot)
            own = shared
        self.evictions += bool(before.session) and before.key != owner.key
        slot.owner, slot.busy = owner, True
        return slot, self.rewind(slot, own)

    def release(self, slot: Slot) -> None:
        """Make the slot idle. Its tokens stay until it is needed, unless they are forgotten."""
        self._clock += 1
        slot.used_at, slot.busy = self._clock, False
        if slot.forgotten:
            slot.forgotten = False
            self.rewind(slot, 0)

    def rewind(self, slot: Slot, length: int) -> int:
        """Cut the slot to `length` tokens, or to none if the model's state cannot be cut.

        The state of a recurrent model cannot. Returns the tokens that remain.
        """
        kept = length
        if not self._lib.llama_memory_seq_rm(self._memory, slot.sequence, length, -1):
            self._lib.llama_memory_seq_rm(self._memory, slot.sequence, -1, -1)
            kept = 0
        del slot.tokens[kept:]
        slot.exact = min(slot.exact, kept)
        slot.saved = min(slot.saved, kept)
        return kept

    def swap(self, first: Slot, second: Slot) -> bool:
        """Exchange the sequences of two slots; their owners are not affected.

        Returns False, without a change, if they cannot be swapped. Raises RuntimeError if both are
        lost.
        """
        if self._sliding or self._copying:
            return False
        try:
            swapped = self._swapper.swap(first.sequence, second.sequence)
        except RuntimeError:
            self.rewind(first, 0)
            self.rewind(second, 0)
            raise
        if swapped:
            first.sequence, second.sequence = second.sequence, first.sequence
        return swapped

    def append(self, slot: Slot, tokens: Sequence[int], *, exact: bool) -> None:
        """Record that one step decoded `tokens` at the end of the slot."""
        if exact and slot.exact == len(slot.tokens):
            slot.exact += len(tokens)
        slot.tokens.extend(tokens)
        for other in self.all if self._copying else ():
            other.copied = False

    def save_one(self) -> bool:
        """Save the idle slot that has grown most, if by SAVE_STEP. Returns whether one was."""
        grown = [slot for slot in self.idle if slot.exact - slot.saved >= SAVE_STEP]
        return bool(grown) and self._save(max(grown, key=lambda slot: slot.exact - slot.saved))

    def save_all(self) -> None:
        """Save every idle slot, before the context is freed."""
        for slot in self.idle:
            self._save(slot)

    def forget(self) -> None:
        """Empty the idle slots; busy ones are never saved and never found by other requests."""
        for slot in self.all:
            slot.owner = dataclasses.replace(slot.owner, session="")
            if slot.busy:
                slot.forgotten = True
            else:
                self.rewind(slot, 0)

    def _save(self, slot: Slot) -> bool:
        if self.disk is None or not slot.owner.session or slot.copied or slot.exact <= slot.saved:
            return False
        exact = slot.exact
        if self.rewind(slot, exact) < exact:
            return False
        slot.saved = exact  # after a failure too: a full disk is not tried at every pause
        return self.disk.save(slot.owner.key, slot.sequence, slot.tokens)

    def _restore(self, slot: Slot, prompt: Sequence[int], owner: PromptOwner, cached: int) -> bool:
        """Load the session's saved prefix if it has more than `cached` tokens of the prompt.

        Returns whether the slot changed.
        """
        if self.disk is None or not owner.session or self._copying:
            return False
        prefix = self.disk.find(owner.key)
        if prefix is None:
            return False
        limit = min(len(prefix.tokens), len(prompt) - EXACT_ROWS)
        if common_prefix(prefix.tokens, prompt, limit) <= cached:
            return False
        self.rewind(slot, 0)
        slot.owner = owner
        if self.disk.restore(prefix, slot.sequence):
            slot.tokens = list(prefix.tokens)
            slot.exact = slot.saved = len(slot.tokens)
        return True

    def _longest(self, prompt: Sequence[int], owner: PromptOwner) -> tuple[Slot | None, int]:
        """Return the slot with the longest prefix that `prompt` may reuse, and its length."""
        best: tuple[Slot | None, int] = (None, 0)
        for slot in self.all if self._reuse else ():
            shared = self._shared(slot, prompt, owner)
            if shared > best[1]:
                best = (slot, shared)
        return best

    def _shared(self, slot: Slot, prompt: Sequence[int], owner: PromptOwner) -> int:
        if slot.forgotten or not self._reuse:
            return 0
        limit = slot.owner.shares_with(owner, min(slot.exact, len(prompt) - EXACT_ROWS))
        return common_prefix(slot.tokens, prompt, limit)

    def _choose_slot(self, owner: PromptOwner, source: Slot | None) -> Slot:
        idle = self.idle
        own = [slot for slot in idle if owner.session and slot.owner.key == owner.key]
        if own:
            return own[0]
        if source is not None and not (source.busy or source.owner.session or owner.session):
            return source
        return min(idle, key=lambda slot: (bool(slot.tokens), slot.used_at, slot.sequence))

    @property
    def _copying(self) -> bool:
        return any(slot.copied for slot in self.all)

    def _copy(self, source: Slot, slot: Slot) -> None:
        """Copy the whole sequence: llama.cpp copies no parts, and only before its next step."""
        self._lib.llama_memory_seq_rm(self._memory, slot.sequence, -1, -1)
        self._lib.llama_memory_seq_cp(self._memory, source.sequence, slot.sequence, -1, -1)
        slot.tokens, slot.exact, slot.saved = list(source.tokens), source.exact, 0
        slot.copied = True


class SequenceSwapper:
    """Swaps two sequences of one context through llama.cpp's sequence states.

    llama.cpp itself only copies sequences, always whole windows, and in its next step. A state is
    as long as the tokens it holds, and moves at once. Not for models with sliding windows:
    llama.cpp leaves out of their states what the window has passed (llama-kv-cache.cpp,
    state_write), and the sequence could no longer be cut.

    Invariant: between calls no sequence is half written.
    """

    def __init__(self, lib: Any, context: Any) -> None:
        self._lib = lib
        self._context = context
        self._buffers: list[Any] = [(ctypes.c_uint8 * 0)(), (ctypes.c_uint8 * 0)()]

    def swap(self, first: int, second: int) -> bool:
        """Swap two sequences. Returns False, without a change, if one is too large.

        Raises RuntimeError if llama.cpp does not accept its own state.
        """
        first_state, second_state = self._read(first, 0), self._read(second, 1)
        if first_state is None or second_state is None:
            return False
        self._clear(first)
        self._clear(second)
        if not (self._write(first_state, second) and self._write(second_state, first)):
            raise RuntimeError(f"the sequences {first} and {second} were lost in a swap")
        return True

    def _read(self, sequence: int, number: int) -> tuple[Any, int] | None:
        """Copy the state of `sequence` into buffer `number` (0 or 1); return buffer and size."""
        size = int(self._lib.llama_state_seq_get_size(self._context, sequence))
        if not 0 < size <= MAX_STATE_BYTES:
            return None
        try:
            buffer = self._buffer(size, number)
        except MemoryError:
            return None
        written = self._lib.llama_state_seq_get_data(self._context, buffer, size, sequence)
        return (buffer, size) if written == size else None

    def _buffer(self, size: int, number: int) -> Any:
        buffer = self._buffers[number]
        if len(buffer) < size:
            buffer = (ctypes.c_uint8 * size)()
            if size <= BUFFER_BYTES:
                self._buffers[number] = buffer
        return buffer

    def _write(self, state: tuple[Any, int], sequence: int) -> bool:
        return bool(self._lib.llama_state_seq_set_data(self._context, *state, sequence))

    def _clear(self, sequence: int) -> None:
        memory = self._lib.llama_get_memory(self._context)
        self._lib.llama_memory_seq_rm(memory, sequence, -1, -1)


def common_prefix(first: Sequence[int], second: Sequence[int], limit: int) -> int:
    """Return the length of the common prefix of two prompts, at most `limit`."""
    for length in range(limit):
        if first[length] != second[length]:
            return length
    return max(0, limit)
