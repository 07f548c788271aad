"""Which of the ranked items go into the prompt, under a budget of tokens.

An item's value is what its score says, a probability up to a factor; so the items are taken in
order of value per token (score less the logarithm of the tokens) as far as they fit, which is how a
knapsack is filled well and fast. A header is paid for with the first item of its day. Invariant:
pure and deterministic; what is chosen costs no more than the budget, headers included.
"""

from __future__ import annotations

import math
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
    priced = [(one, max(0, cost(one.item))) for one in ranked]
    priced.sort(key=lambda pair: (math.log(pair[1] + 1) - pair[0].score, -pair[0].item.id))
    taken: list[Recalled] = []
    days: set[str] = set()
    left = budget
    for one, tokens in priced:
        if tokens > left:
            continue
        when = day(one.item)
        price = tokens if when in days else tokens + header_cost
        if price <= left:
            left -= price
            days.add(when)
            taken.append(one)
    return sorted(taken, key=lambda one: (one.item.said_at, one.item.id))
