"""Choosing under a budget: never over it, whole items, by value per token, in order of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vanta.memory.items import MemoryItem, RecalledItem
from vanta.memory.rendering import day_of, select_within_budget

DAY_S = 24 * 3600.0


def recalled(identity: int, score: float, *, on: int = 0) -> RecalledItem:
    """An item said on a day."""
    item = MemoryItem(identity, "ada", "s", "t", "message", "user", "x", DAY_S * on + identity)
    return RecalledItem(item, score)


def ids(chosen: list[RecalledItem]) -> list[int]:
    return [one.item.id for one in chosen]


ranked = st.lists(st.tuples(st.floats(-20, 20), st.integers(0, 5), st.integers(0, 60)), max_size=30)


@given(ranked=ranked, budget=st.integers(-5, 200), header=st.integers(0, 12))
def test_a_choice_costs_no_more_than_the_budget(
    ranked: list[tuple[float, int, int]], budget: int, header: int
) -> None:
    given_ = [recalled(n, score, on=on) for n, (score, on, _) in enumerate(ranked)]
    costs = {n: cost for n, (_, _, cost) in enumerate(ranked)}
    chosen = select_within_budget(given_, budget, lambda item: costs[item.id], header)
    days = {day_of(one.item) for one in chosen}
    spent = sum(costs[one.item.id] for one in chosen) + header * len(days)
    assert spent <= max(0, budget)
    assert chosen == sorted(chosen, key=lambda one: (one.item.said_at, one.item.id))
    assert len(set(ids(chosen))) == len(chosen)
    assert select_within_budget(given_[::-1], budget, lambda item: costs[item.id], header) == chosen
    left = budget - spent
    for one in given_:
        price = costs[one.item.id] + (0 if day_of(one.item) in days else header)
        assert one in chosen or price > left


def test_the_best_come_first_and_stand_in_the_order_of_time() -> None:
    given_ = [recalled(3, 2.0), recalled(1, 1.0), recalled(2, 0.0)]
    assert ids(select_within_budget(given_, 20, lambda _: 10, 0)) == [1, 3]


def test_a_short_item_beats_a_long_one_of_a_little_more_value() -> None:
    given_ = [recalled(1, 2.0), recalled(2, 1.9), recalled(3, 1.8)]
    costs = {1: 100, 2: 40, 3: 40}
    assert ids(select_within_budget(given_, 100, lambda item: costs[item.id], 0)) == [2, 3]


def test_a_long_item_of_much_more_value_beats_short_ones() -> None:
    given_ = [recalled(1, 5.0), recalled(2, 1.9), recalled(3, 1.8)]
    costs = {1: 100, 2: 40, 3: 40}
    assert ids(select_within_budget(given_, 100, lambda item: costs[item.id], 0)) == [1]


def test_a_header_is_paid_for_once_a_day() -> None:
    given_ = [recalled(1, 3.0), recalled(2, 2.0, on=1), recalled(3, 1.0)]
    assert ids(select_within_budget(given_, 25, lambda _: 10, 5)) == [1, 3]


def test_nothing_fits_into_nothing() -> None:
    assert select_within_budget([recalled(1, 3.0)], 0, lambda _: 1, 0) == []
    assert select_within_budget([], 100, lambda _: 1, 1) == []
