"""Quantiles of a sorted sequence, by linear interpolation between neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quantiles(values: Iterable[float], steps: int) -> tuple[float, ...]:
    """The values at 0, 1/steps ... 1 of the sorted ones, straight between neighbours."""
    ordered = sorted(values)
    return tuple(quantile(ordered, i / steps) for i in range(steps + 1))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a `share` of the ascending `ordered` lies."""
    place = share * (len(ordered) - 1)
    low = min(int(place), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
