"""Rule 7: the deadline is one clock for the whole turn."""

from __future__ import annotations

import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import ErrorKind
from vanta.scheduling.policy import CASCADE, HEDGE, LOCAL, PREFER, RACE
from vanta.testing import Fail, Hang, Say, ScriptedEngine

pytestmark = pytest.mark.anyio


async def test_an_unfinished_reply_is_cut_with_the_reason_deadline() -> None:
    engine = ScriptedEngine(Say("so far"), Hang())
    stage = Stage(LOCAL, {"local": engine}, deadline_s=0.2)
    outcome = await stage.run()
    assert (outcome.text, outcome.finish_reason) == ("so far", "deadline")
    assert engine.streaming == 0


async def test_silence_until_the_deadline_is_a_timeout_of_each_track() -> None:
    stage = Stage(
        RACE, {"local": ScriptedEngine(Hang()), "api": ScriptedEngine(Hang())}, deadline_s=0.2
    )
    failure = (await stage.run()).failure
    assert failure is not None
    assert [error.kind for error in failure.exceptions] == [ErrorKind.TIMEOUT] * 2  # type: ignore[union-attr]


async def test_a_turn_whose_time_is_up_starts_no_engine() -> None:
    engine = ScriptedEngine(Say("too late"))
    stage = Stage(LOCAL, {"local": engine}, deadline_s=1.0)
    failure = (await stage.run(late_s=2.0)).failure
    assert failure is not None
    assert engine.runs == []


async def test_held_text_is_served_at_the_deadline() -> None:
    api, local = ScriptedEngine(Hang()), ScriptedEngine(Say("a net"), Hang())
    stage = Stage(PREFER, {"api": api, "local": local}, deadline_s=0.25)
    outcome = await stage.run()
    assert (outcome.text, outcome.finish_reason) == ("a net", "deadline")


async def test_a_rejected_answer_is_served_at_the_deadline_rather_than_none() -> None:
    local = ScriptedEngine(Say("I cannot help with that"))
    stage = Stage(CASCADE, {"local": local, "api": ScriptedEngine(Hang())}, deadline_s=0.25)
    outcome = await stage.run()
    assert outcome.text == "I cannot help with that"
    assert ("api", "failed") in states(outcome)


async def test_a_hedge_whose_delay_lies_beyond_the_deadline_never_starts() -> None:
    api = ScriptedEngine(Say("never"))
    stage = Stage(HEDGE, {"local": ScriptedEngine(Hang()), "api": api}, deadline_s=0.2)
    assert (await stage.run()).failure is not None
    assert api.runs == []


async def test_the_deadline_in_the_middle_of_a_takeover_keeps_the_shown_text() -> None:
    api = ScriptedEngine(Say("half an"), Fail(ErrorKind.NETWORK))
    local = ScriptedEngine(scripts=[[Hang()]])
    stage = Stage(PREFER, {"api": api, "local": local}, deadline_s=0.25)
    outcome = await stage.run()
    assert (outcome.text, outcome.finish_reason) == ("half an", "deadline")
    assert states(outcome)[0] == ("api", "broken")
