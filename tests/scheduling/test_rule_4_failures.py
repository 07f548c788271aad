"""Rule 4: no leg fails silently, no error text becomes an answer; all failing is one error."""

from __future__ import annotations

import dataclasses

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.engine import GenerationRequest
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.events import LegFailed
from vanta.scheduling.policy import CASCADE, HEDGE, RACE, LegPlan
from vanta.testing import Fail, Finish, Hang, Say, ScriptedEngine, Think, Wait

pytestmark = pytest.mark.anyio


async def test_one_failing_leg_does_not_fail_the_turn_and_is_reported() -> None:
    stage = Stage(
        HEDGE, {"local": ScriptedEngine(Fail(ErrorKind.SERVER)), "api": ScriptedEngine(Say("ok"))}
    )
    outcome = await stage.run()
    assert outcome.text == "ok"
    assert [event.error["kind"] for event in stage.of(LegFailed)] == ["server"]


async def test_a_leg_that_fails_late_does_not_affect_the_winner() -> None:
    gate = anyio.Event()
    local = ScriptedEngine(Wait(gate), Fail(ErrorKind.SERVER))
    api = ScriptedEngine(Think("..."), Say("ok"))
    stage = Stage(RACE, {"local": local, "api": api})
    gate.set()
    assert (await stage.run()).text == "ok"


async def test_if_all_fail_one_error_names_each_track_and_cause() -> None:
    stage = Stage(
        RACE,
        {
            "local": ScriptedEngine(Fail(ErrorKind.MODEL_NOT_LOADED)),
            "api": ScriptedEngine(Fail(ErrorKind.AUTH)),
        },
    )
    failure = (await stage.run()).failure
    assert isinstance(failure, AllTracksFailed)
    kinds = {
        error.track: error.kind for error in failure.exceptions if isinstance(error, EngineError)
    }
    assert kinds == {"local": ErrorKind.MODEL_NOT_LOADED, "api": ErrorKind.AUTH}
    assert "'local'" in str(failure)
    assert "'api'" in str(failure)
    assert stage.text == ""


async def test_an_engine_that_breaks_its_contract_fails_its_leg_only() -> None:
    def reply(_request: GenerationRequest) -> list[Say]:
        raise ZeroDivisionError("a bug in a plugin")

    stage = Stage(HEDGE, {"local": ScriptedEngine(reply=reply), "api": ScriptedEngine(Say("ok"))})
    assert (await stage.run()).text == "ok"
    (failed,) = stage.of(LegFailed)
    assert "ZeroDivisionError" in failed.error["message"]


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_an_answer_without_readable_text_is_a_failure_not_an_answer(reason: str) -> None:
    empty = ScriptedEngine(Think("hmm"), Finish(reason))  # type: ignore[arg-type]
    stage = Stage(HEDGE, {"local": empty, "api": ScriptedEngine(Say("ok"))})
    outcome = await stage.run()
    assert outcome.text == "ok"
    assert ("local", "failed") in states(outcome)


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_an_answer_of_reasoning_alone_is_not_paid_for_twice(reason: str) -> None:
    thinks = ScriptedEngine(Say("<think> is a tag."), Finish(reason))  # type: ignore[arg-type]
    policy = dataclasses.replace(RACE, legs=(LegPlan("local"),))
    stage = Stage(policy, {"local": thinks}, retries=1)
    failure = (await stage.run()).failure
    assert len(thinks.requests) == 1
    problem = "reasoning never ended" if reason == "stop" else "token limit was reached"
    assert problem in str(failure)


async def test_an_answer_without_anything_is_retried() -> None:
    empty = ScriptedEngine(Finish("stop"))
    policy = dataclasses.replace(RACE, legs=(LegPlan("local"),))
    await Stage(policy, {"local": empty}, retries=1).run()
    assert len(empty.requests) == 2


async def test_a_waiting_leg_starts_at_once_when_the_other_failed() -> None:
    stage = Stage(
        HEDGE,
        {"local": ScriptedEngine(Fail(ErrorKind.SERVER)), "api": ScriptedEngine(Say("ok"))},
    )
    outcome = await stage.run()
    assert outcome.text == "ok"
    assert outcome.legs[1].started_s < 0.5
    assert "failed" in outcome.legs[1].why


async def test_a_rejected_answer_fails_the_turn_without_a_last_resort() -> None:
    policy = dataclasses.replace(CASCADE, last_resort=False)
    stage = Stage(
        policy,
        {"local": ScriptedEngine(Say("I'm sorry, I cannot help with that."))},
    )
    failure = (await stage.run()).failure
    assert failure is not None
    assert "declines to answer" in str(failure)


async def test_a_rejected_answer_is_served_if_no_track_gave_another() -> None:
    stage = Stage(
        CASCADE,
        {
            "local": ScriptedEngine(Say("I'm sorry, I cannot help with that.")),
            "api": ScriptedEngine(Fail(ErrorKind.NETWORK)),
        },
    )
    outcome = await stage.run()
    assert outcome.failure is None
    assert outcome.text.startswith("I'm sorry")
    assert stage.of(LegFailed)[0].track == "api"


async def test_a_silent_leg_does_not_delay_the_failure_of_the_turn() -> None:
    stage = Stage(
        RACE,
        {"local": ScriptedEngine(Hang()), "api": ScriptedEngine(Fail(ErrorKind.AUTH))},
        deadline_s=0.2,
    )
    failure = (await stage.run()).failure
    assert failure is not None
    assert {str(error.kind) for error in failure.exceptions} == {"auth", "timeout"}  # type: ignore[union-attr]
