"""Probabilities that come true."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vanta.routing.logistic import Platt, Steps, logit, sigmoid
from vanta_tuning.fitting.metrics import reliability
from vanta_tuning.fitting.regression import (
    fit_curve,
    fit_linear,
    fit_platt,
    fit_steps,
    importance,
)

ROWS = st.lists(
    st.tuples(st.floats(-1e3, 1e3, allow_nan=False), st.booleans()), min_size=1, max_size=60
)


def drawn(count: int) -> tuple[list[float], list[bool]]:
    chance = random.Random(3)  # noqa: S311 - a seed, no secret
    scores = [chance.uniform(-3, 3) for _ in range(count)]
    return scores, [chance.random() < sigmoid(2 * score - 1) for score in scores]


def test_platt_finds_the_curve_that_the_rows_were_drawn_from() -> None:
    curve = fit_platt(*drawn(4000))
    assert curve.slope == pytest.approx(2, abs=0.2)
    assert curve.offset == pytest.approx(-1, abs=0.2)


def test_isotonic_steps_find_it_too() -> None:
    curve = fit_steps(*drawn(4000))
    for score in (-2, -1, 0, 0.5, 1, 2):
        assert curve(score) == pytest.approx(sigmoid(2 * score - 1), abs=0.08)


@settings(deadline=None)
@given(ROWS, st.floats(-2e3, 2e3), st.floats(-2e3, 2e3))
def test_no_curve_falls_or_leaves_0_to_1(
    rows: list[tuple[float, bool]], low: float, high: float
) -> None:
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    low, high = sorted((low, high))
    for curve in (fit_platt(scores, labels), fit_steps(scores, labels)):
        assert 0 <= curve(low) <= curve(high) + 1e-12
        assert curve(high) <= 1


def test_scores_that_say_the_opposite_keep_their_order_and_nothing_else() -> None:
    curve = fit_platt([1.0, 2.0, 3.0, 4.0] * 20, [True, True, False, False] * 20)
    assert 0.49 < curve(1) < curve(4) < 0.51


@pytest.mark.parametrize("fit", [fit_platt, fit_steps])
def test_scores_without_information_mostly_give_the_base_rate_and_keep_their_order(
    fit: Callable[[Sequence[float], Sequence[bool]], Platt | Steps],
) -> None:
    flat = 0
    for seed in range(20):
        chance = random.Random(seed)  # noqa: S311 - a seed, no secret
        scores = [chance.gauss(0, 1) for _ in range(150)]
        labels = [chance.random() < 0.2 for _ in scores]
        curve, rate = fit_curve(scores, labels, fit), (sum(labels) + 1) / 152
        assert curve(-1) <= curve(1)
        flat += abs(curve(-1) - rate) < 0.001 and curve(-1) < curve(1)
    assert flat >= 12


@pytest.mark.parametrize("fit", [fit_platt, fit_steps])
def test_scores_with_information_get_a_curve(
    fit: Callable[[Sequence[float], Sequence[bool]], Platt | Steps],
) -> None:
    curve = fit_curve(*drawn(400), fit)
    assert curve(2) - curve(-2) > 0.7


def test_reliability_counts_every_row_once() -> None:
    held = reliability([0.0, 0.05, 0.95, 1.0], [False, False, True, False])
    assert [(item.rows, item.actual) for item in held.bins] == [(2, 0.0), (2, 0.5)]
    assert held.ece == pytest.approx((2 * 0.025 + 2 * 0.475) / 4)
    assert held.brier == pytest.approx((0 + 0.05**2 + 0.05**2 + 1) / 4)


@given(st.floats(0.001, 0.999))
def test_logit_is_the_inverse_of_sigmoid(probability: float) -> None:
    assert sigmoid(logit(probability)) == pytest.approx(probability)


def test_logistic_regression_stands_where_its_loss_is_flat() -> None:
    """At the optimum each weight is cost * sum of (label - probability) * value."""
    chance = random.Random(5)  # noqa: S311 - a seed, no secret
    rows = [set(chance.sample(range(8), 3)) for _ in range(60)]
    labels = [float(0 in row) * 0.8 + 0.1 for row in rows]
    scales = importance(rows)
    model = fit_linear(rows, labels, scales, cost=0.5)
    probabilities = [sigmoid(model.logit(model.known(row))) for row in rows]
    for feature, weight in model.weights.items():
        value = scales[feature] / 3**0.5
        pulls = [
            label - p
            for row, label, p in zip(rows, labels, probabilities, strict=True)
            if feature in row
        ]
        assert weight / scales[feature] == pytest.approx(0.5 * sum(pulls) * value, abs=5e-3)
