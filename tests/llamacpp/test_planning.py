"""Which writers take a step together, and where their sequences lie."""

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
from vanta_llamacpp.worker import sequence_swap as carrying
from vanta_llamacpp.worker.slots import Slot, Slots
from vanta_llamacpp.worker.statistics import Tally
from vanta_llamacpp.worker.step_planner import (
    Planner,
    Swap,
    by_length,
    cells_of,
    cheapest_swaps,
    moved_tokens,
    parts,
)

LENGTHS = st.lists(st.integers(0, 5000), min_size=1, max_size=7)


def slots_of(lengths: list[int]) -> list[Slot]:
    """One slot a length, in the order of their sequences."""
    return [Slot(number, tokens=[1] * length) for number, length in enumerate(lengths)]


def cost(steps: list[list[Slot]], pass_cells: int) -> int:
    """A pass over the weights a step, and for each row as many cells as the longest has."""
    return sum(pass_cells + len(step) * max(map(cells_of, step)) for step in steps)


@given(LENGTHS, st.integers(0, 10_000))
def test_no_other_parting_is_cheaper(lengths: list[int], pass_cells: int) -> None:
    """Held against every way to deal the writers out to steps."""
    writers = slots_of(lengths)
    steps = by_length(writers, pass_cells)
    assert sorted(slot.sequence for step in steps for slot in step) == list(range(len(writers)))
    assert cost(steps, pass_cells) == min(cost(each, pass_cells) for each in partings(writers))


def partings(writers: list[Slot]) -> list[list[list[Slot]]]:
    """Every partition of the writers."""
    if not writers:
        return [[]]
    first, rest = writers[0], partings(writers[1:])
    found = [[[first], *dealt] for dealt in rest]
    for dealt in rest:
        for place in range(len(dealt)):
            grown = [[first, *one] if n == place else one for n, one in enumerate(dealt)]
            found.append(grown)
    return found


def test_a_long_conversation_writes_alone_and_short_ones_together() -> None:
    """With a pass as dear as a thousand cells."""
    writers = slots_of([100, 4000, 120, 90])
    assert [[len(slot.tokens) for slot in step] for step in by_length(writers, 1000)] == [
        [4000],
        [120, 100, 90],
    ]


def test_nobody_is_parted_where_a_row_pays_for_its_own_cells_only() -> None:
    """As with flash attention."""
    assert len(by_length(slots_of([100, 4000, 120, 90]), None)) == 1


class Places:
    """Slots that change places at once, as those of a context do."""

    def __init__(self, slots: list[Slot]) -> None:
        self.all = slots

    def swap(self, first: Slot, second: Slot) -> bool:
        first.sequence, second.sequence = second.sequence, first.sequence
        return True


@pytest.mark.parametrize("lengths", [[700, 300] * 8, [3000, 200] * 2, [4000, *[100] * 7]])
def test_those_that_lie_among_each_other_are_sorted_out(lengths: list[int]) -> None:
    """Pair by pair, while all write; and no round on the way costs more than one step for all."""
    slots = slots_of(lengths)
    tally = Tally()
    planner = Planner(cast("Slots", Places(slots)), 1100, tally)
    at_first, steps = cost_of([slots], 1100), [slots]
    for _ in range(300):
        steps = planner.steps(slots)
        assert sorted(id(slot) for step in steps for slot in step) == sorted(map(id, slots))
        assert cost_of(steps, 1100) <= at_first
    assert cost_of(steps, 1100) == cost(by_length(slots, 1100), 1100)
    assert tally.swaps <= len(slots)
    settled = tally.swaps
    planner.steps(slots)
    assert tally.swaps == settled


def cost_of(steps: list[list[Slot]], pass_cells: int) -> int:
    """With the passes that llama.cpp adds where places are not adjacent."""
    added = sum(parts(step) - 1 for step in steps)
    return cost(steps, pass_cells) + added * pass_cells


@st.composite
def places(draw: st.DrawFn) -> tuple[list[Slot], list[Slot], list[Slot]]:
    """All slots, those of a step, and those that have to stay."""
    slots = slots_of(draw(st.lists(st.integers(0, 3000), min_size=2, max_size=9)))
    parts = draw(st.lists(st.sampled_from("soi"), min_size=len(slots), max_size=len(slots)))
    step = [slot for slot, part in zip(slots, parts, strict=True) if part == "s"]
    others = [slot for slot, part in zip(slots, parts, strict=True) if part == "o"]
    return slots, step, others


@given(places())
def test_swaps_bring_a_step_together_and_leave_others_where_they_are(
    drawn: tuple[list[Slot], list[Slot], list[Slot]],
) -> None:
    """None is found only where no row of free places is long enough."""
    slots, step, others = drawn
    if not step:
        return
    stay = {slot.sequence for slot in others}
    free = [
        not stay.intersection(range(first, first + len(step)))
        for first in range(len(slots) - len(step) + 1)
    ]
    before = [slot.sequence for slot in others]
    swaps = cheapest_swaps(step, others, slots)
    for first, second in swaps:
        first.sequence, second.sequence = second.sequence, first.sequence
    placed = sorted(slot.sequence for slot in step)
    if any(free):
        assert placed == list(range(placed[0], placed[0] + len(step)))
    assert [slot.sequence for slot in others] == before
    assert sorted(slot.sequence for slot in slots) == list(range(len(slots)))


def test_the_fewest_tokens_are_moved() -> None:
    """The short one comes to the long one, in place of what is empty."""
    slots = slots_of([2000, 0, 900, 0, 50])
    swaps = cheapest_swaps([slots[0], slots[4]], [], slots)
    assert {slot.sequence for pair in swaps for slot in pair} == {1, 4}
    assert moved_tokens(swaps) == 50


async def write_together(engine: LlamaCppEngine, asked: list[GenerationRequest]) -> list[str]:
    """The answers of requests that are made at once."""
    texts = [""] * len(asked)

    async def one(number: int) -> None:
        texts[number] = (await answer(engine, asked[number])).text

    async with anyio.create_task_group() as tasks:
        for number in range(len(asked)):
            tasks.start_soon(one, number)
    return texts


@pytest.mark.anyio
async def test_sessions_far_apart_come_together_and_answer_as_if_alone(tiny: MakeEngine) -> None:
    """Of nine sessions every third writes; all keep what they had."""
    engine, alone = tiny(parallel=9), tiny(parallel=1, reuse_prefix=False)
    talks = [
        dataclasses.replace(request(f"Tell me of {number}.", max_tokens=48), session=f"s{number}")
        for number in range(9)
    ]
    expected = [(await answer(alone, asked)).text for asked in talks]
    for asked in talks:
        await answer(engine, asked)
    assert engine.stats()["swaps"] == 0
    for picked in ((0, 3, 6), (1, 4, 7), (0, 4, 8)):
        cached = engine.stats()["cached_input_tokens"]
        texts = await write_together(engine, [talks[number] for number in picked])
        assert texts == [expected[number] for number in picked]
        assert engine.stats()["cached_input_tokens"] > cached + 3 * 20
    assert engine.stats()["swaps"] >= 3
    assert [(await answer(engine, asked)).text for asked in talks] == expected


@pytest.mark.anyio
async def test_what_is_too_large_to_carry_stays_and_is_copied_by_llama_cpp(
    tiny: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are the same."""
    monkeypatch.setattr(carrying, "MOST_BYTES", 1000)
    engine, alone = tiny(parallel=6), tiny(parallel=1, reuse_prefix=False)
    talks = [
        dataclasses.replace(request(f"Tell me of {number}.", max_tokens=48), session=f"s{number}")
        for number in range(6)
    ]
    expected = [(await answer(alone, asked)).text for asked in talks]
    assert await write_together(engine, talks[:3]) == expected[:3]
    assert [(await answer(engine, asked)).text for asked in talks] == expected
    assert await write_together(engine, talks[::2]) == expected[::2]
    assert engine.stats()["swaps"] == 0
    assert engine.stats()["cached_input_tokens"] > 5 * 10


@pytest.mark.anyio
async def test_a_long_one_among_short_ones_takes_steps_of_its_own(tiny: MakeEngine) -> None:
    """And all answer as if alone: of this model a pass is as dear as some two thousand cells."""
    long = request("rain " * 3000, max_tokens=40)
    asked = [long, *(request(f"Tell me of {number}.", max_tokens=40) for number in range(3))]
    alone = tiny(parallel=1, window=8192, reuse_prefix=False)
    expected = [(await answer(alone, each)).text for each in asked]
    engine = tiny(parallel=4, window=8192)
    assert await write_together(engine, asked) == expected
    steps, read = engine.stats()["steps"], engine.stats()["prefilled_tokens"]
    assert steps - read // 64 >= 2 * 36, "nearly every token of the long one, apart from the rest"


def test_swaps_of_a_whole_step_are_pairs() -> None:
    """Each slot that moves changes places with one that makes room."""
    slots = slots_of([10] * 6)
    for step in itertools.combinations(slots, 3):
        swaps: list[Swap] = cheapest_swaps(step, [], slots)
        assert all(first in step and second not in step for first, second in swaps)
