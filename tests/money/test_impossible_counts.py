"""Whatever an engine reports, the ledger books a finite cost that is not negative."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.money.ledgers import open_ledger, reserve, totals
from tests.runtime.home import open_scripted
from vanta import AllTracksFailed, EngineTimings, Price, Usage
from vanta.messages import Delta, fold
from vanta.money.amounts import nano, nano_up
from vanta.testing import Finish, ScriptedEngine

pytestmark = pytest.mark.anyio

ANSWER = "word " * 100
PAID = {"api": {"input_usd_per_mtok": 10.0, "output_usd_per_mtok": 10.0, "window": 8000}}
IMPOSSIBLE: list[Any] = [0, -1, -(10**400), 10**400, 1e308, math.nan, math.inf]


async def answered_before_the_cap(tmp_path: Path, usage: Usage) -> tuple[int, list[Any]]:
    engine = ScriptedEngine(ANSWER, Finish(usage=usage))
    replies: list[Any] = []
    async with open_scripted(
        tmp_path,
        api=engine,
        tracks=PAID,
        policy="api",
        budget={"day_usd": 0.02},
        config={"memory": {"enabled": False}},
    ) as runtime:
        for number in range(20):
            try:
                replies.append(await runtime.session(f"s{number}").ask("a question " * 100))
            except AllTracksFailed:
                break
        spent, reserved = await totals(runtime.ledger)
    assert 0 < spent <= 0.02
    assert reserved == 0
    return len(replies), replies


@pytest.mark.parametrize("count", IMPOSSIBLE, ids=lambda count: repr(count)[:12])
async def test_a_cap_holds_whatever_an_engine_reports(tmp_path: Path, count: Any) -> None:
    right, _ = await answered_before_the_cap(tmp_path / "right", Usage(300, 110))
    turns, replies = await answered_before_the_cap(tmp_path / "wrong", Usage(count, count))
    assert turns <= right + 1
    usage = replies[0].usage
    assert not usage.exact
    assert usage.input_tokens >= 100
    assert usage.output_tokens >= 100
    assert replies[0].cost_usd > 0


async def test_a_possible_count_is_exact(tmp_path: Path) -> None:
    _, replies = await answered_before_the_cap(tmp_path, Usage(300, 110))
    assert replies[0].usage == Usage(300, 110)


@pytest.mark.parametrize("usd", [math.nan, math.inf, -math.inf, -1.0])
async def test_a_cost_that_is_none_is_settled_at_its_reservation(
    tmp_path: Path, usd: float
) -> None:
    async with open_ledger(tmp_path, day_usd=0.05) as ledger:
        reservation = await reserve(ledger, 0.02)
        settlement = await ledger.settle(reservation, usd)
        assert (settlement.usd, settlement.exact) == (0.02, False)
        assert await totals(ledger) == (0.02, 0)


def test_an_amount_that_is_not_a_number_is_allowed_by_no_cap() -> None:
    assert nano_up(math.nan) == nano(math.nan) == nano_up(math.inf)


@pytest.mark.parametrize("count", IMPOSSIBLE, ids=lambda count: repr(count)[:12])
def test_a_price_is_finite_and_not_negative(count: Any) -> None:
    cost = Price(1.0, 1.0).of_tokens(count, count)
    assert math.isfinite(cost)
    assert cost >= 0


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_times_that_are_none_are_left_out(value: float) -> None:
    timings = EngineTimings(queue_s=value, prefill_s=0.5, first_token_s=None, per_token_s=value)
    folded = fold([Delta(text="a", finish_reason="stop", timings=timings)]).timings
    assert folded == EngineTimings(prefill_s=0.5)
