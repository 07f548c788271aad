"""Who writes with whom: the steps of one round, and where their sequences lie.

A step costs a pass over the weights, and then each row the attention over as many cells as the
longest of its sequences has. So one long conversation among short ones makes all of them slow, and
writers are parted by length wherever that costs less than the passes it adds.

llama.cpp also parts a step by itself wherever its sequences are not adjacent (llama-batch.cpp,
split_equal). Where that has cost as much as moving them together would, they are moved, a pair a
round: the rule of the ski rental problem (Karlin et al., "Competitive Snoopy Caching", 1988).

Invariant: every writer is in exactly one step, and nothing but places changes: no answer depends on
who else is in a step (see `slots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vanta_llamacpp.worker.slots import Slot, Slots
from vanta_llamacpp.worker.statistics import Tally

PADDING = 256
"""Cells by which attention grows (llama-kv-cache.cpp, get_n_kv)."""
MOVED_FOR_A_PASS = 512
"""Tokens whose cells can be moved in the time of a pass over the weights (measured with 135M
parameters: 7 us a token, 3.5 ms a pass; both grow with the model)."""


class Planner:
    """Plans the rounds of one context. pass_cells: attention of one row over so many cells takes as
    long as a pass over the weights; None where a row pays for its own cells only."""

    def __init__(self, slots: Slots, pass_cells: int | None, tally: Tally) -> None:
        self._slots = slots
        self._pass_cells = pass_cells
        self._lost = 0
        self._tally = tally

    def steps(self, writers: Sequence[Slot]) -> list[list[Slot]]:
        """The steps of a round in which each of `writers` gets a token; each in the order of its
        sequences. Slots may change places."""
        if len(writers) < 2:
            return [list(writers)] if writers else []
        steps = by_length(writers, self._pass_cells)
        settled: list[Slot] = []
        for step in steps:
            if len(step) > 1:
                self._gather(step, settled)
                settled += step
        whole = [[slot for step in steps for slot in step]]
        if self._cost(whole) < self._cost(steps):
            steps = whole  # for the time being: they lie among each other
        for step in steps:
            step.sort(key=lambda slot: slot.sequence)
        return steps

    def _gather(self, step: Sequence[Slot], settled: Sequence[Slot]) -> None:
        """Move the slots of a step together, a pair at a time, once it is worth it."""
        swaps = cheapest_swaps(step, settled, self._slots.all) if parts(step) > 1 else []
        if not swaps:
            return
        self._lost += (parts(step) - 1) * MOVED_FOR_A_PASS
        if self._lost >= moved_tokens(swaps):
            self._lost -= moved_tokens(swaps[:1])
            self._tally.swaps += self._slots.swap(*swaps[0])

    def _cost(self, steps: Sequence[Sequence[Slot]]) -> int:
        """In cells, with the passes that llama.cpp adds."""
        price = self._pass_cells or 0
        return sum(parts(step) * price + len(step) * max(map(cells_of, step)) for step in steps)


Swap = tuple[Slot, Slot]


def by_length(writers: Sequence[Slot], pass_cells: int | None) -> list[list[Slot]]:
    """The cheapest steps for `writers`, the longest first: by dynamic programming over where to
    part them in the order of their lengths."""
    ordered = sorted(writers, key=lambda slot: -len(slot.tokens))
    cells = [cells_of(slot) for slot in ordered]
    if pass_cells is None or sum(cells[0] - each for each in cells) <= pass_cells:
        return [ordered]
    least, cut = [0], [0]
    for end in range(1, len(ordered) + 1):
        costs = [least[begin] + pass_cells + (end - begin) * cells[begin] for begin in range(end)]
        least.append(min(costs))
        cut.append(costs.index(least[end]))
    steps: list[list[Slot]] = []
    end = len(ordered)
    while end:
        steps.insert(0, ordered[cut[end] : end])
        end = cut[end]
    return steps


def parts(step: Sequence[Slot]) -> int:
    """The passes over the weights that llama.cpp takes a step in: one a row of adjacent places."""
    places = sorted(slot.sequence for slot in step)
    return 1 + sum(low + 1 < high for low, high in pairwise(places))


def cells_of(slot: Slot) -> int:
    """The cells that attention walks over for the next token of `slot`."""
    return (len(slot.tokens) // PADDING + 1) * PADDING


def moved_tokens(swaps: Sequence[Swap]) -> int:
    """Tokens that change their places."""
    return sum(len(first.tokens) + len(second.tokens) for first, second in swaps)


def cheapest_swaps(
    step: Sequence[Slot], others: Sequence[Slot], slots: Sequence[Slot]
) -> list[Swap]:
    """The swaps that move the fewest tokens and bring the slots of `step` side by side, without
    taking a place from `others`; none where there is no room for it."""
    placed = sorted(slots, key=lambda slot: slot.sequence)
    found: list[list[Swap]] = []
    for first in range(len(placed) - len(step) + 1):
        room = placed[first : first + len(step)]
        if not any(slot in others for slot in room):
            outside = [slot for slot in step if slot not in room]
            inside = [slot for slot in room if slot not in step]
            found.append(list(zip(outside, inside, strict=True)))
    return min(found, key=moved_tokens, default=[])
