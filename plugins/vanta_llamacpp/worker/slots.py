"""The sequences of the KV cache: which tokens each holds, who had it last, what can be kept.

What a cached entry is, to the last bit, can depend on the shape of the step that computed it: on
processors a row among few is multiplied by another routine than one among several. Steps that are
`exact` compute every row alike, so entries from exact steps are kept for the next prompt, of the
same session or, copied, of any other; what came after an inexact step, as an answer written token
by token, is read anew. With and without the cache the same answer comes out.

Where prefixes are saved (see `saved`), a session's is written when its slot is given to another, in
the pauses once it has grown by SAVE_STEP, and at the end; and read where no slot holds as much.

Invariant: what a slot is said to hold is what llama.cpp holds for it, and a busy slot is neither
given away nor cut by anyone but its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vanta_llamacpp.model.kv_disk import SavedPrefixes
from vanta_llamacpp.worker.sequence_swap import Carrier

EXACT_ROWS = 4
"""Tokens of one sequence from which ggml's matrix routines take over from the one for single rows
(ggml-cpu/llamafile/sgemm.cpp: 2 on x86, 4 on ARM). Without flash attention their sums depend on
nothing else."""


SAVE_STEP = 256


@dataclass(slots=True, eq=False)
class Slot:
    """One sequence. exact: how many of `tokens` came from exact steps. used_at: a counter. saved:
    how many of them are on disk. copied: llama.cpp has yet to copy them, in its next step.
    forgotten: nobody shall find them, and they go with the owner."""

    sequence: int
    tokens: list[int] = field(default_factory=list)
    exact: int = 0
    session: str = ""
    used_at: int = 0
    busy: bool = False
    saved: int = 0
    copied: bool = False
    forgotten: bool = False


class Slots:
    """All sequences of one context. reuse: False forgets everything before each prompt. disk: where
    prefixes are saved. sliding: the model has sliding windows, so that states are not whole (see
    `carrying`): nothing is saved, nor changes its place."""

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
        self._carrier = Carrier(lib, context)
        self._reuse = reuse
        self._clock = 0
        self.evictions = 0
        self.all = tuple(Slot(number) for number in range(count))

    @property
    def idle(self) -> list[Slot]:
        """Those that nobody works on."""
        return [slot for slot in self.all if not slot.busy]

    def cached(self, prompt: Sequence[int]) -> int:
        """How many tokens at the beginning of `prompt` need not be read."""
        return self._longest(prompt)[1]

    def claim(self, prompt: Sequence[int], session: str) -> tuple[Slot, int]:
        """A slot for `prompt`, and how many tokens of it are in there already.

        The session's own slot if there is one, else the least recently used; what another slot
        shares with the prompt is copied. EXACT_ROWS tokens at least are left to read: fewer would
        make an inexact step. There has to be an idle slot.
        """
        source, shared = self._longest(prompt)
        slot = self._place(session, source)
        if slot.session != session:
            self._save(slot)
            slot.saved = 0
        if self._restore(slot, prompt, session, shared):
            source, shared = self._longest(prompt)
        own = self._shared(slot, prompt)
        if source is not None and source is not slot and shared > own:
            self._copy(source, slot)
            own = shared
        self.evictions += bool(slot.session) and slot.session != session
        slot.session, slot.busy = session, True
        return slot, self.rewind(slot, own)

    def release(self, slot: Slot) -> None:
        """Its owner has left; what it holds stays until the slot is wanted, unless it is to be
        forgotten."""
        self._clock += 1
        slot.used_at, slot.busy = self._clock, False
        if slot.forgotten:
            slot.forgotten = False
            self.rewind(slot, 0)

    def rewind(self, slot: Slot, length: int) -> int:
        """Cut to `length` tokens, or to none where the model's memory cannot be cut (recurrent
        ones cannot); returns what is left."""
        kept = length
        if not self._lib.llama_memory_seq_rm(self._memory, slot.sequence, length, -1):
            self._lib.llama_memory_seq_rm(self._memory, slot.sequence, -1, -1)
            kept = 0
        del slot.tokens[kept:]
        slot.exact = min(slot.exact, kept)
        slot.saved = min(slot.saved, kept)
        return kept

    def swap(self, first: Slot, second: Slot) -> bool:
        """Let two slots change their places among the sequences; whoever owns them need not know.
        False, and nothing is changed, where they cannot. Raises RuntimeError if both are lost."""
        if self._sliding or self._copying:
            return False
        try:
            done = self._carrier.swap(first.sequence, second.sequence)
        except RuntimeError:
            self.rewind(first, 0)
            self.rewind(second, 0)
            raise
        if done:
            first.sequence, second.sequence = second.sequence, first.sequence
        return done

    def grew(self, slot: Slot, tokens: Sequence[int], *, exact: bool) -> None:
        """`tokens` were decoded in one step at the end of the slot."""
        if exact and slot.exact == len(slot.tokens):
            slot.exact += len(tokens)
        slot.tokens.extend(tokens)
        for each in self.all if self._copying else ():
            each.copied = False

    def save_one(self) -> bool:
        """Save what has grown most by now, if it is worth it; whether there was something."""
        grown = [slot for slot in self.idle if slot.exact - slot.saved >= SAVE_STEP]
        return bool(grown) and self._save(max(grown, key=lambda slot: slot.exact - slot.saved))

    def save_all(self) -> None:
        """Save all that is worth it; the end is near."""
        for slot in self.idle:
            self._save(slot)

    def forget(self) -> None:
        """Empty what nobody works on; what is being worked on is never saved, nor found again."""
        for slot in self.all:
            slot.session = ""
            if slot.busy:
                slot.forgotten = True
            else:
                self.rewind(slot, 0)

    def _save(self, slot: Slot) -> bool:
        if self.disk is None or not slot.session or slot.copied or slot.exact <= slot.saved:
            return False
        exact = slot.exact
        if self.rewind(slot, exact) < exact:
            return False
        slot.saved = exact  # also if it fails: a disk that is full is not asked at every pause
        return self.disk.save(slot.session, slot.sequence, slot.tokens)

    def _restore(self, slot: Slot, prompt: Sequence[int], session: str, known: int) -> bool:
        """Take what is saved of the session, if it has more than `known` tokens of the prompt;
        whether the slot was touched."""
        if self.disk is None or not session or self._copying:
            return False
        found = self.disk.find(session)
        if found is None:
            return False
        most = min(len(found.tokens), len(prompt) - EXACT_ROWS)
        if common_prefix(found.tokens, prompt, most) <= known:
            return False
        self.rewind(slot, 0)
        if self.disk.restore(found, slot.sequence):
            slot.tokens = list(found.tokens)
            slot.exact = slot.saved = len(slot.tokens)
        return True

    def _longest(self, prompt: Sequence[int]) -> tuple[Slot | None, int]:
        best: tuple[Slot | None, int] = (None, 0)
        for slot in self.all if self._reuse else ():
            shared = self._shared(slot, prompt)
            if shared > best[1]:
                best = (slot, shared)
        return best

    def _shared(self, slot: Slot, prompt: Sequence[int]) -> int:
        if slot.forgotten or not self._reuse:
            return 0
        most = min(slot.exact, len(prompt) - EXACT_ROWS)
        return common_prefix(slot.tokens, prompt, most)

    def _place(self, session: str, source: Slot | None) -> Slot:
        idle = self.idle
        own = [slot for slot in idle if session and slot.session == session]
        if own:
            return own[0]
        if source is not None and not (source.busy or source.session or session):
            return source
        return min(idle, key=lambda slot: (bool(slot.tokens), slot.used_at, slot.sequence))

    @property
    def _copying(self) -> bool:
        return any(slot.copied for slot in self.all)

    def _copy(self, source: Slot, slot: Slot) -> None:
        """All of it: llama.cpp copies between sequences whole, and before its next step."""
        self._lib.llama_memory_seq_rm(self._memory, slot.sequence, -1, -1)
        self._lib.llama_memory_seq_cp(self._memory, source.sequence, slot.sequence, -1, -1)
        slot.tokens, slot.exact, slot.saved = list(source.tokens), source.exact, 0
        slot.copied = True


def common_prefix(first: Sequence[int], second: Sequence[int], most: int) -> int:
    """How many tokens two prompts share at their beginning, `most` at the most."""
    for length in range(most):
        if first[length] != second[length]:
            return length
    return max(0, most)
