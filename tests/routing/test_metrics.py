"""APGR against areas known by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.routing import quantile, quantiles
from vanta_tuning.fitting.metrics import apgr


def test_the_area_of_two_rows_is_what_paper_and_pencil_say() -> None:
    # Recovered is 0, then 1, then 1: trapezoids of 1/2 and 1, each half as wide.
    assert apgr([2.0, 1.0], [1.0, 0.0]) == pytest.approx(0.75)
    assert apgr([1.0, 2.0], [1.0, 0.0]) == pytest.approx(0.25)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=30))
def test_a_score_that_says_nothing_gets_half(gains: list[float]) -> None:
    expected = pytest.approx(0.5) if sum(gains) else None
    assert apgr([0.0] * len(gains), gains) == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-1.0, 0.0, 1.0])), min_size=1))
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[int, float]]) -> None:
    mixed = random.Random(0).sample(rows, len(rows))  # noqa: S311
    areas = [apgr([float(s) for s, _ in table], [g for _, g in table]) for table in (rows, mixed)]
    assert areas[0] == pytest.approx(areas[1]) if areas[0] is not None else areas[1] is None


def test_where_the_weak_track_knows_better_the_oracle_passes_one() -> None:
    gains = [1.0, 1.0, -1.0, 0.0]
    oracle = apgr(gains, gains)
    assert oracle is not None
    assert oracle > 1


def test_quantiles_lie_between_neighbours() -> None:
    assert quantiles([3.0, 1.0, 2.0], 4) == (1.0, 1.5, 2.0, 2.5, 3.0)
    assert quantile([5.0], 0.7) == 5.0
