"""Route and speculate: the router decides what starts, the gate what is served."""

from __future__ import annotations

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import ErrorKind
from vanta.events import LegStarted
from vanta.scheduling.policy import ROUTE, SPECULATE
from vanta.testing import Fail, Hang, Say, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio
REFUSAL = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize(("hard", "track"), [(True, "api"), (False, "local"), (None, "local")])
async def test_route_starts_one_track_only(hard: bool | None, track: str) -> None:
    engines = {"local": ScriptedEngine(Say("l")), "api": ScriptedEngine(Say("a"))}
    stage = Stage(ROUTE, engines, hard=hard)
    await stage.run()
    assert [name for name, engine in engines.items() if engine.runs] == [track]
    assert "looks" in stage.of(LegStarted)[0].why


@pytest.mark.parametrize("hard", [True, False])
async def test_route_falls_over_to_the_other_track(hard: bool) -> None:
    broken, fine = ScriptedEngine(Fail(ErrorKind.SERVER)), ScriptedEngine(Say("fine"))
    engines = {"api": broken, "local": fine} if hard else {"local": broken, "api": fine}
    assert (await Stage(ROUTE, engines, hard=hard).run()).text == "fine"


async def test_speculate_starts_the_api_early_for_hard_messages_only() -> None:
    for hard in (True, False):
        api = ScriptedEngine(Hang())
        outcome = await Stage(
            SPECULATE, {"local": ScriptedEngine("sure"), "api": api}, hard=hard
        ).run()
        assert outcome.text == "sure"
        assert len(api.runs) == int(hard)


async def test_speculate_drops_the_api_when_the_gate_accepts_though_it_was_first() -> None:
    gate = anyio.Event()
    api = ScriptedEngine(Say("early"), Hang())
    stage = Stage(SPECULATE, {"local": ScriptedEngine(Wait(gate), "sure"), "api": api}, hard=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        while not (api.runs and api.runs[0].tokens):
            await anyio.lowlevel.checkpoint()
        assert stage.text == ""
        gate.set()
    assert stage.text == "sure"
    assert api.runs[0].cancelled


async def test_speculate_shows_the_early_answer_when_the_gate_rejects() -> None:
    local, api = ScriptedEngine(Say(REFUSAL)), ScriptedEngine("a real answer")
    outcome = await Stage(SPECULATE, {"local": local, "api": api}, hard=True).run()
    assert outcome.text == "a real answer"
    assert ("local", "rejected") in states(outcome)
