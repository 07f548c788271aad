"""Test which sequences share a decode step, and where they lie in the KV cache."""

from __future__ import annotations

import dataclasses
import itertools
from typing import cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.llamacpp.support import MakeEngine, answer, request
from vanta.engine import GenerationRequest
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.model import slots as slots_module
from vanta_llamacpp.model.slots import Slot, Slots
from vanta_llamacpp.worker.job import WorkerStats
from vanta_llamacpp.worker.step_planner import (
    StepPlanner,
    Swap,
    cells_of,
    cheapest_swaps,
    moved_tokens,
    passes,
    split_by_length,
)

LENGTHS = st.lists(st.integers(0, 5000), min_size=1, max_size=7)


def slots_of(lengths: list[int]) -> list[Slot]:
    """Return one slot per length, in the order of their sequences."""
    return [Slot(number, tokens=[1] * length) for number, length in enumerate(lengths)]


def cost(steps: list[list[Slot]], pass_cells: int) -> int:
    """Return the cost of adjacent steps: a pass each, and for each row the longest's cells."""
    return sum(pass_cells + len(step) * max(map(cells_of, step)) for step in steps)


@given(LENGTHS, st.integers(0, 10_000))
def test_no_other_split_is_cheaper(lengths: list[int], pass_cells: int) -> None:
    """Compared with every partition of the slots."""
    slots = slots_of(lengths)
    steps = split_by_length(slots, pass_cells)
    assert sorted(slot.sequence for step in steps for slot in step) == list(range(len(slots)))
    cheapest = min(cost(partition, pass_cells) for partition in partitions(slots))
    assert cost(steps, pass_cells) == cheapest


def partitions(slots: list[Slot]) -> list[list[list[Slot]]]:
    """Return every partition of the slots."""
    if not slots:
        return [[]]
    first, rest = slots[0], partitions(slots[1:])
    result = [[[first], *parts] for parts in rest]
    return result + [
        [[first, *part] if number == place else part for number, part in enumerate(parts)]
        for parts in rest
        for place in range(len(parts))
    ]


def test_a_long_conversation_decodes_alone_and_short_ones_together() -> None:
    """With a pass as expensive as a thousand cells."""
    slots = slots_of([100, 4000, 120, 90])
    assert [[len(slot.tokens) for slot in step] for step in split_by_length(slots, 1000)] == [
        [4000],
        [120, 100, 90],
    ]


def test_flash_attention_splits_no_step() -> None:
    """Each row then pays for its own cells only."""
    assert len(split_by_length(slots_of([100, 4000, 120, 90]), None)) == 1


class Places:
    """Slots that swap their sequences at once, like those of a context."""

    def __init__(self, slots: list[Slot]) -> None:
        self.all = slots

    def swap(self, first: Slot, second: Slot) -> bool:
        first.sequence, second.sequence = second.sequence, first.sequence
        return True


@pytest.mark.parametrize("lengths", [[700, 300] * 8, [3000, 200] * 2, [4000, *[100] * 7]])
def test_interleaved_sequences_are_gathered(lengths: list[int]) -> None:
    """Pair by pair, while all decode. No round costs more than one step for all."""
    slots = slots_of(lengths)
    stats = WorkerStats()
    planner = StepPlanner(cast("Slots", Places(slots)), 1100, stats)
    at_first, steps = cost_of([slots], 1100), [slots]
    for _ in range(300):
        steps = planner.steps(slots)
        assert sorted(id(slot) for step in steps for slot in step) == sorted(map(id, slots))
        assert cost_of(steps, 1100) <= at_first
    assert cost_of(steps, 1100) == cost(split_by_length(slots, 1100), 1100)
    assert stats.swaps <= len(slots)
    settled = stats.swaps
    planner.steps(slots)
    assert stats.swaps == settled


def cost_of(steps: list[list[Slot]], pass_cells: int) -> int:
    """Return the cost with the passes that llama.cpp adds for sequences that are not adjacent."""
    added = sum(passes(step) - 1 for step in steps)
    return cost(steps, pass_cells) + added * pass_cells


@st.composite
def places(draw: st.DrawFn) -> tuple[list[Slot], list[Slot], list[Slot]]:
    """Draw all slots, those of a step, and those that must keep their sequences."""
    slots = slots_of(draw(st.lists(st.integers(0, 3000), min_size=2, max_size=9)))
    roles = draw(st.lists(st.sampled_from("soi"), min_size=len(slots), max_size=len(slots)))
    step = [slot for slot, role in zip(slots, roles, strict=True) if role == "s"]
    settled = [slot for slot, role in zip(slots, roles, strict=True) if role == "o"]
    return slots, step, settled


@given(places())
def test_swaps_gather_a_step_and_move_no_settled_slot(
    drawn: tuple[list[Slot], list[Slot], list[Slot]],
) -> None:
    """There are none only if no free run of sequences is long enough."""
    slots, step, settled = drawn
    if not step:
        return
    stay = {slot.sequence for slot in settled}
    free = [
        not stay.intersection(range(first, first + len(step)))
        for first in range(len(slots) - len(step) + 1)
    ]
    before = [slot.sequence for slot in settled]
    swaps = cheapest_swaps(step, settled, slots)
    for first, second in swaps:
        first.sequence, second.sequence = second.sequence, first.sequence
    placed = sorted(slot.sequence for slot in step)
    if any(free):
        assert placed == list(range(placed[0], placed[0] + len(step)))
    assert [slot.sequence for slot in settled] == before
    assert sorted(slot.sequence for slot in slots) == list(range(len(slots)))


def test_the_fewest_tokens_are_moved() -> None:
    """The short one moves to the long one, into an empty place."""
    slots = slots_of([2000, 0, 900, 0, 50])
    swaps = cheapest_swaps([slots[0], slots[4]], [], slots)
    assert {slot.sequence for pair in swaps for slot in pair} == {1, 4}
    assert moved_tokens(swaps) == 50


async def answer_together(engine: LlamaCppEngine, requests: list[GenerationRequest]) -> list[str]:
    """Return the answers to concurrent requests."""
    texts = [""] * len(requests)

    async def read(number: int) -> None:
        texts[number] = (await answer(engine, requests[number])).text

    async with anyio.create_task_group() as tasks:
        for number in range(len(requests)):
            tasks.start_soon(read, number)
    return texts


@pytest.mark.anyio
async def test_distant_sessions_are_gathered_and_answer_as_if_alone(tiny: MakeEngine) -> None:
    """Three of nine sessions decode at a time; all keep their caches."""
    engine, alone = tiny(parallel=9), tiny(parallel=1, reuse_prefix=False)
    talks = [
        dataclasses.replace(request(f"Tell me of {number}.", max_tokens=48), session=f"s{number}")
        for number in range(9)
    ]
    expected = [(await answer(alone, talk)).text for talk in talks]
    for talk in talks:
        await answer(engine, talk)
    assert engine.stats()["swaps"] == 0
    for picked in ((0, 3, 6), (1, 4, 7), (0, 4, 8)):
        cached = engine.stats()["cached_input_tokens"]
        texts = await answer_together(engine, [talks[number] for number in picked])
        assert texts == [expected[number] for number in picked]
        assert engine.stats()["cached_input_tokens"] > cached + 3 * 20
    assert engine.stats()["swaps"] >= 3
    assert [(await answer(engine, talk)).text for talk in talks] == expected


@pytest.mark.anyio
async def test_a_state_that_is_too_large_is_not_swapped(
    tiny: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are the same."""
    monkeypatch.setattr(slots_module, "MAX_STATE_BYTES", 1000)
    engine, alone = tiny(parallel=6), tiny(parallel=1, reuse_prefix=False)
    talks = [
        dataclasses.replace(request(f"Tell me of {number}.", max_tokens=48), session=f"s{number}")
        for number in range(6)
    ]
    expected = [(await answer(alone, talk)).text for talk in talks]
    assert await answer_together(engine, talks[:3]) == expected[:3]
    assert [(await answer(engine, talk)).text for talk in talks] == expected
    assert await answer_together(engine, talks[::2]) == expected[::2]
    assert engine.stats()["swaps"] == 0
    assert engine.stats()["cached_input_tokens"] > 5 * 10


@pytest.mark.anyio
async def test_a_long_conversation_among_short_ones_has_steps_of_its_own(tiny: MakeEngine) -> None:
    """All answer as if alone. A pass of this model costs as much as about 2,000 cells."""
    long = request("rain " * 3000, max_tokens=40)
    talks = [long, *(request(f"Tell me of {number}.", max_tokens=40) for number in range(3))]
    alone = tiny(parallel=1, window=8192, reuse_prefix=False)
    expected = [(await answer(alone, talk)).text for talk in talks]
    engine = tiny(parallel=4, window=8192)
    assert await answer_together(engine, talks) == expected
    steps, prefilled = engine.stats()["steps"], engine.stats()["prefilled_tokens"]
    assert steps - prefilled // 64 >= 2 * 36, "nearly every token of the long one has its own step"


def test_swaps_of_a_whole_step_are_pairs() -> None:
    """Each slot that moves is swapped with one outside the step."""
    slots = slots_of([10] * 6)
    for step in itertools.combinations(slots, 3):
        swaps: list[Swap] = cheapest_swaps(step, [], slots)
        assert all(first in step and second not in step for first, second in swaps)
