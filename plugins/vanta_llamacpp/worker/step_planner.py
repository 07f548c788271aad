"""The decode steps of a round: which sequences share a step, and where they lie.

A step costs one pass over the weights, and for each of its rows the attention over as many cells as
its longest sequence has. One long conversation among short ones thus slows down all of them, so
sequences are split by length wherever that costs less than the passes it adds.

llama.cpp itself splits a step wherever its sequences are not adjacent (llama-batch.cpp,
split_equal). Once that has cost as much as moving them together, they are swapped, a pair per
round: the rule of the ski rental problem (Karlin et al., "Competitive Snoopy Caching", 1988).

Invariant: every sequence is in exactly one step, and planning changes places only: no answer
depends on the other sequences of its step (see `slots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vanta_llamacpp.model import Slot, Slots
from vanta_llamacpp.worker.job import WorkerStats

PADDING = 256
"""Cells by which attention grows (llama-kv-cache.cpp, get_n_kv)."""
TOKENS_PER_PASS = 512
"""Tokens whose cells can be moved in the time of one pass over the weights.

Measured with 135M parameters: 7 us per token, 3.5 ms per pass. Both grow with the model.
"""


class StepPlanner:
    """Plans the rounds of one context.

    :param pass_cells: the cells of one row's attention that take as long as a pass over the
        weights, or None if a row pays for its own cells only.
    :param stats: counts the swaps.
    """

    def __init__(self, slots: Slots, pass_cells: int | None, stats: WorkerStats) -> None:
        self._slots = slots
        self._pass_cells = pass_cells
        self._lost_tokens = 0
        self._stats = stats

    def steps(self, slots: Sequence[Slot]) -> list[list[Slot]]:
        """Return the steps of a round that decodes one token of each of `slots`.

        Each step is in the order of its sequences. Slots may swap their sequences.
        """
        if len(slots) < 2:
            return [list(slots)] if slots else []
        steps = split_by_length(slots, self._pass_cells)
        settled: list[Slot] = []
        for step in steps:
            if len(step) > 1:
                self._gather(step, settled)
                settled += step
        together = [[slot for step in steps for slot in step]]
        if self._cost(together) < self._cost(steps):
            steps = together  # cheaper while the sequences of the steps are interleaved
        for step in steps:
            step.sort(key=lambda slot: slot.sequence)
        return steps

    def _gather(self, step: Sequence[Slot], settled: Sequence[Slot]) -> None:
        """Swap one pair of slots, towards an adjacent step, once that pays."""
        swaps = cheapest_swaps(step, settled, self._slots.all) if passes(step) > 1 else []
        if not swaps:
            return
        self._lost_tokens += (passes(step) - 1) * TOKENS_PER_PASS
        if self._lost_tokens >= moved_tokens(swaps):
            self._lost_tokens -= moved_tokens(swaps[:1])
            self._stats.swaps += self._slots.swap(*swaps[0])

    def _cost(self, steps: Sequence[Sequence[Slot]]) -> int:
        """Return the cost in cells, including the passes that llama.cpp adds."""
        price = self._pass_cells or 0
        return sum(passes(step) * price + len(step) * max(map(cells_of, step)) for step in steps)


Swap = tuple[Slot, Slot]


def split_by_length(slots: Sequence[Slot], pass_cells: int | None) -> list[list[Slot]]:
    """Return the cheapest steps, longest sequences first.

    Dynamic programming over the places to cut the slots, ordered by length.
    """
    ordered = sorted(slots, key=lambda slot: -len(slot.tokens))
    cells = [cells_of(slot) for slot in ordered]
    if pass_cells is None or sum(cells[0] - count for count in cells) <= pass_cells:
        return [ordered]
    least, cut = [0], [0]
    for end in range(1, len(ordered) + 1):
        costs = [least[start] + pass_cells + (end - start) * cells[start] for start in range(end)]
        least.append(min(costs))
        cut.append(costs.index(least[end]))
    steps: list[list[Slot]] = []
    end = len(ordered)
    while end:
        steps.insert(0, ordered[cut[end] : end])
        end = cut[end]
    return steps


def passes(step: Sequence[Slot]) -> int:
    """Return the passes over the weights of a step: one per run of adjacent sequences."""
    places = sorted(slot.sequence for slot in step)
    return 1 + sum(low + 1 < high for low, high in pairwise(places))


def cells_of(slot: Slot) -> int:
    """Return the cells that attention reads for the next token of `slot`."""
    return (len(slot.tokens) // PADDING + 1) * PADDING


def moved_tokens(swaps: Sequence[Swap]) -> int:
    """Return how many tokens the swaps move."""
    return sum(len(first.tokens) + len(second.tokens) for first, second in swaps)


def cheapest_swaps(
    step: Sequence[Slot], settled: Sequence[Slot], slots: Sequence[Slot]
) -> list[Swap]:
    """Return the swaps that make the sequences of `step` adjacent and move the fewest tokens.

    :param settled: slots that must keep their sequences.
    :param slots: all slots of the context.
    :returns: an empty list if no run of sequences is free.
    """
    placed = sorted(slots, key=lambda slot: slot.sequence)
    candidates: list[list[Swap]] = []
    for first in range(len(placed) - len(step) + 1):
        run = placed[first : first + len(step)]
        if not any(slot in settled for slot in run):
            outside = [slot for slot in step if slot not in run]
            inside = [slot for slot in run if slot not in step]
            candidates.append(list(zip(outside, inside, strict=True)))
    return min(candidates, key=moved_tokens, default=[])
