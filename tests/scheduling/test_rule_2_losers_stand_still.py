"""Rule 2: losers are stopped at commit, and their standing still is confirmed and measured."""

from __future__ import annotations

import anyio
import pytest

from tests.scheduling.stage import Stage
from vanta.events import Committed, LegCancelled, LegFinished
from vanta.scheduling.policy import RACE
from vanta.testing import Hang, Say, ScriptedEngine
from vanta.track import Price

pytestmark = pytest.mark.anyio


async def test_the_loser_is_stopped_before_the_winner_has_finished() -> None:
    loser = ScriptedEngine(Hang())

    def answer(_request: object) -> list[Say]:
        return [Say("won"), Say(" it")]

    stage = Stage(RACE, {"local": ScriptedEngine(reply=answer), "api": loser})
    await stage.run()
    assert loser.streaming == 0
    assert loser.runs[0].cancelled
    assert stage.kinds().index("Committed") < stage.kinds().index("LegCancelled")


async def test_the_turn_waits_until_a_loser_that_winds_down_slowly_stands_still() -> None:
    may_stop = anyio.Event()
    loser = ScriptedEngine(Hang(), winds_down=may_stop)
    stage = Stage(RACE, {"local": ScriptedEngine(Say("won")), "api": loser})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        while not stage.of(LegFinished):
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert not stage.of(LegCancelled)
        assert loser.streaming == 1
        may_stop.set()
    assert [event.track for event in stage.of(LegCancelled)] == ["api"]
    assert loser.streaming == 0


async def test_what_a_loser_produced_after_the_stop_is_in_event_and_trace() -> None:
    loser = ScriptedEngine(Hang(), tokens_after_stop=3)
    stage = Stage(
        RACE,
        {"local": ScriptedEngine(Say("won")), "api": loser},
        prices={"api": Price(output_usd_per_mtok=1_000_000)},
    )
    outcome = await stage.run()
    (cancelled,) = stage.of(LegCancelled)
    trace = outcome.legs[1].trace()
    assert cancelled.tokens_after_stop == trace.tokens_after_stop == 3
    assert trace.cost_after_stop_usd == pytest.approx(3.0)
    assert cancelled.confirmed_s >= 0
    assert trace.stop_asked_s is not None
    assert trace.ended_s is not None
    assert trace.stop_asked_s <= trace.ended_s


async def test_nothing_that_a_loser_says_is_ever_shown() -> None:
    api_may_speak = anyio.Event()
    stage = Stage(
        RACE,
        {"local": ScriptedEngine("a b c"), "api": ScriptedEngine(Hang(), Say("SECRET"))},
    )
    await stage.run()
    api_may_speak.set()
    assert "SECRET" not in stage.text
    assert [event.track for event in stage.of(Committed)] == ["local"]
