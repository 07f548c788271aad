"""Rule 8: cancelling the caller cancels everything, at once."""

from __future__ import annotations

import anyio
import pytest

from tests.scheduling.stage import Stage
from vanta.scheduling.policy import RACE, Policy
from vanta.testing import Hang, Say, ScriptedEngine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("script", [[Hang()], [Say("spoke"), Hang()]])
async def test_cancelling_the_turn_stops_every_leg(script: list[Say | Hang]) -> None:
    local, api = ScriptedEngine(*script), ScriptedEngine(Hang())
    stage = Stage(RACE, {"local": local, "api": api})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        await local.run()
        await api.run()
        tasks.cancel_scope.cancel()
    assert (local.streaming, api.streaming) == (0, 0)
    assert local.runs[0].cancelled
    assert stage.race is not None
    assert all(leg.ended for leg in stage.race.legs)


async def test_a_race_in_which_nothing_happens_sleeps() -> None:
    engine = ScriptedEngine(Hang())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Stage(RACE, {"local": engine, "api": engine}).run)
        await engine.run(1)
        with anyio.fail_after(5):
            await anyio.wait_all_tasks_blocked()
        assert engine.streaming == 2
        tasks.cancel_scope.cancel()


async def test_a_thousand_races_leave_no_task_behind(anyio_backend: str) -> None:
    policy: Policy = RACE
    before = len(_tasks(anyio_backend))
    for _ in range(1000):
        await Stage(policy, {"local": ScriptedEngine("a"), "api": ScriptedEngine(Hang())}).run()
    assert len(_tasks(anyio_backend)) == before


def _tasks(backend: str) -> list[object]:
    if backend == "asyncio":
        import asyncio

        return list(asyncio.all_tasks())
    import trio

    return [None] * trio.lowlevel.current_statistics().tasks_living
