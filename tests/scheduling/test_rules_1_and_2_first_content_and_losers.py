"""Rules 1 and 2: first content decides; losers are stopped, and their end is confirmed."""

from __future__ import annotations

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.events import Committed, LegCancelled, LegFinished
from vanta.scheduling.policy import RACE
from vanta.testing import Hang, Say, ScriptedEngine, Think, Wait
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


async def test_the_turn_waits_for_a_loser_that_winds_down_slowly() -> None:
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


async def test_tokens_of_a_loser_after_the_stop_are_in_event_and_trace() -> None:
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


async def test_no_text_of_a_loser_is_shown() -> None:
    api_may_speak = anyio.Event()
    stage = Stage(
        RACE,
        {"local": ScriptedEngine("a b c"), "api": ScriptedEngine(Hang(), Say("SECRET"))},
    )
    await stage.run()
    api_may_speak.set()
    assert "SECRET" not in stage.text
    assert [event.track for event in stage.of(Committed)] == ["local"]


@pytest.mark.parametrize("empty", [Say(""), Say(" \n"), Think("let me see")])
async def test_a_delta_without_readable_text_does_not_win(empty: Say | Think) -> None:
    never = anyio.Event()
    stage = Stage(
        RACE,
        {
            "local": ScriptedEngine(empty, Wait(never), Say("late")),
            "api": ScriptedEngine(Say("first")),
        },
    )
    outcome = await stage.run()
    assert outcome.text == "first"
    assert states(outcome) == [("local", "cancelled"), ("api", "won")]


async def test_text_before_the_first_readable_character_is_kept() -> None:
    stage = Stage(RACE, {"local": ScriptedEngine(Say("\n"), Say("  "), Say("hello"))})
    outcome = await stage.run()
    assert outcome.text == stage.text == "\n  hello"


async def test_the_first_content_wins_not_the_first_track_of_the_policy() -> None:
    api_has_spoken = anyio.Event()
    local = ScriptedEngine(Wait(api_has_spoken), Say("second"))
    api = ScriptedEngine(Say("first"), Wait(api_has_spoken), Say(" and last"))
    stage = Stage(RACE, {"local": local, "api": api})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        while not stage.of(Committed):
            await anyio.lowlevel.checkpoint()
        api_has_spoken.set()
    assert stage.text == "first and last"
    assert [event.track for event in stage.of(Committed)] == ["api"]


async def test_the_turn_commits_exactly_once() -> None:
    stage = Stage(
        RACE,
        {"local": ScriptedEngine("a b c d e f"), "api": ScriptedEngine("1 2 3 4 5 6")},
    )
    outcome = await stage.run()
    assert len(stage.of(Committed)) == 1
    assert outcome.text in ("a b c d e f", "1 2 3 4 5 6")
