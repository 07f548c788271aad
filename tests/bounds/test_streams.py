"""Turns whose server sends without an end or without sense: bounded in time, memory and stalls.

The limits of time are generous, since the tests share their processors; `vanta bench faults` has
the strict ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from benchmarks.faults.streams import MOST_BYTES, ROWS, Measure, StreamPlan, TurnCost, plans
from benchmarks.faults.streams import measuring as measuring_with

DEADLINE_S = 0.4
LATE_S = 2.0
BUSY_S = 0.15
LIGHT = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def measure(request: pytest.FixtureRequest) -> Iterator[Measure]:
    with measuring_with(DEADLINE_S, request.param) as measure:
        yield measure


def check(cost: TurnCost) -> None:
    assert cost.finals == 1
    assert cost.late_s < LATE_S
    assert cost.grown_bytes < MOST_BYTES
    assert cost.busy_s < BUSY_S


@pytest.mark.parametrize("name", ROWS)
def test_a_stream_without_an_end_costs_a_turn_little(measure: Measure, name: str) -> None:
    check(measure(ROWS[name]))


@LIGHT
@given(plan=plans())
def test_no_sequence_of_frames_costs_a_turn_much(measure: Measure, plan: StreamPlan) -> None:
    check(measure(plan))


@pytest.mark.parametrize("policy", ["race", "hedge", "cascade", "prefer", "refine", "speculate"])
@pytest.mark.parametrize("name", ["text in deltas of 1 kB", "text in deltas of one character"])
def test_answers_without_an_end_cost_little_under_any_policy(policy: str, name: str) -> None:
    with measuring_with(2.0, policy=policy) as measure:
        check(measure(ROWS[name]))
