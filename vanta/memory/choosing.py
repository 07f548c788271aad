"""Which of the ranked items go into the prompt, under a budget of tokens.

Invariant: pure and deterministic; what is chosen costs no more than the budget, headers included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vanta.memory.items import MemoryItem, Recalled
from vanta.memory.rendering import day


def choose(
    ranked: Sequence[Recalled],
    budget: int,
    cost: Callable[[MemoryItem], int],
    header_cost: int,
) -> list[Recalled]:
    """Items worth their tokens, in chronological order. budget: tokens for all lines and headers.
    cost: tokens of an item's line with its line break. header_cost: of a day's header."""
    taken: list[Recalled] = []
    days: set[str] = set()
    left = budget
    for recalled in ranked:
        price = cost(recalled.item)
        when = day(recalled.item)
        if when not in days:
            price += header_cost
        if price <= left:
            left -= price
            days.add(when)
            taken.append(recalled)
    return sorted(taken, key=lambda one: (one.item.said_at, one.item.id))
