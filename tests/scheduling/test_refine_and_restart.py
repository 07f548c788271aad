"""Refine: local now, amended if the api disagrees. Restart: a takeover that answers again."""

from __future__ import annotations

import dataclasses

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import ErrorKind
from vanta.events import Amended, Committed, Takeover, TextDelta
from vanta.scheduling.policy import PREFER, REFINE
from vanta.testing import Fail, Hang, Say, ScriptedEngine, Wait


async def refined(
    api: ScriptedEngine, local_text: str, gate: anyio.Event, **options: float
) -> Stage:
    """Run a refine turn in which the api answers after local was committed."""
    stage = Stage(REFINE, {"local": ScriptedEngine(local_text), "api": api}, **options)  # type: ignore[arg-type]

    async def open_gate() -> None:
        while not stage.of(Committed):
            await anyio.lowlevel.checkpoint()
        gate.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_gate)
        stage.outcome = await stage.run()  # type: ignore[attr-defined]
    return stage


@pytest.mark.anyio
async def test_an_api_that_disagrees_amends_the_shown_text() -> None:
    gate = anyio.Event()
    stage = await refined(ScriptedEngine(Wait(gate), "It was 1969."), "It was 1972.", gate)
    (amended,) = stage.of(Amended)
    outcome = stage.outcome  # type: ignore[attr-defined]
    assert (amended.track, amended.text) == ("api", "It was 1969.")
    assert "1969" in amended.why
    assert outcome.text == "It was 1969."
    assert states(outcome) == [("local", "amended"), ("api", "won")]


@pytest.mark.anyio
async def test_an_api_that_agrees_changes_nothing() -> None:
    gate = anyio.Event()
    api = ScriptedEngine(Wait(gate), "Paris is the capital of France, on the Seine.")
    stage = await refined(api, "The capital of France is Paris.", gate)
    outcome = stage.outcome  # type: ignore[attr-defined]
    assert not stage.of(Amended)
    assert outcome.text == "The capital of France is Paris."
    assert states(outcome) == [("local", "won"), ("api", "finished")]


@pytest.mark.anyio
@pytest.mark.parametrize("then", [Fail(ErrorKind.SERVER), Hang()])
async def test_an_api_that_fails_or_is_late_leaves_the_local_answer(then: Fail | Hang) -> None:
    gate = anyio.Event()
    stage = await refined(ScriptedEngine(Wait(gate), then), "The answer.", gate, deadline_s=0.4)
    outcome = stage.outcome  # type: ignore[attr-defined]
    assert (outcome.text, outcome.finish_reason) == ("The answer.", "stop")


@pytest.mark.anyio
async def test_a_local_answer_that_breaks_is_replaced_by_its_amender() -> None:
    gate = anyio.Event()
    local = ScriptedEngine(Say("half"), Fail(ErrorKind.SERVER))
    stage = Stage(REFINE, {"local": local, "api": ScriptedEngine(Wait(gate), Say("whole"))})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        while not stage.of(Committed):
            await anyio.lowlevel.checkpoint()
        gate.set()
    (seam,) = stage.of(Takeover)
    assert seam.restarts
    assert [event.text for event in stage.of(TextDelta)] == ["half", "whole"]


@pytest.mark.anyio
async def test_a_policy_may_restart_a_broken_answer() -> None:
    policy = dataclasses.replace(PREFER, takeover="restart")
    api = ScriptedEngine(Say("half of"), Fail(ErrorKind.NETWORK))
    stage = Stage(policy, {"api": api, "local": ScriptedEngine("a new answer")})
    outcome = await stage.run()
    (seam,) = stage.of(Takeover)
    assert (seam.restarts, seam.shown_chars) == (True, 7)
    assert outcome.text == "a new answer"
