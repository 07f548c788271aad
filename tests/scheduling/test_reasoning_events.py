"""Reasoning as events: of the leg that is shown, never of a loser, never part of the text."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

import vanta
from tests.runtime.home import open_scripted
from tests.scheduling.stage import Stage
from vanta import ReasoningDelta
from vanta.events import Committed, LegStarted, TextDelta
from vanta.scheduling.policy import CASCADE, HEDGE, LOCAL, RACE
from vanta.testing import Fail, ScriptedEngine, Think, Wait

pytestmark = pytest.mark.anyio


def thoughts(stage: Stage) -> list[tuple[str, str]]:
    return [(event.track, event.text) for event in stage.of(ReasoningDelta)]


async def test_reasoning_of_a_lone_track_is_sent_as_it_comes() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine(Think("One. "), Think("Two."), Wait(gate), "Yes.")
    stage = Stage(LOCAL, {"local": engine})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        await anyio.wait_all_tasks_blocked()
        assert "".join(text for _, text in thoughts(stage)) == "One. Two."
        assert stage.of(Committed) == []
        gate.set()
    assert [event.text for event in stage.of(TextDelta)] == ["Yes."]


async def test_reasoning_of_a_loser_is_never_sent() -> None:
    """That of the winner is sent at the commit, before its text."""
    slow = anyio.Event()
    local = ScriptedEngine(Think("Local thinks."), Wait(slow), "No.")
    api = ScriptedEngine(Think("Api thinks."), "Yes.")
    stage = Stage(RACE, {"local": local, "api": api})
    await stage.run()
    assert thoughts(stage) == [("api", "Api thinks.")]
    kinds = [type(event).__name__ for event in stage.events]
    assert kinds.index("Committed") < kinds.index("ReasoningDelta") < kinds.index("TextDelta")


async def test_reasoning_of_a_rejected_answer_is_not_sent() -> None:
    local = ScriptedEngine(Think("Local thinks."), "I do not know.")
    stage = Stage(CASCADE, {"local": local, "api": ScriptedEngine(Think("Api thinks."), "Paris.")})
    await stage.run()
    assert ("api", "Api thinks.") in thoughts(stage)
    assert stage.of(TextDelta)[-1].track == "api"
    assert all(track == "api" for track, _ in thoughts(stage))


async def test_reasoning_after_a_takeover_is_that_of_the_successor() -> None:
    local = ScriptedEngine(Think("First."), "Paris is", Fail(vanta.ErrorKind.NETWORK))
    api = ScriptedEngine(Think("Second."), "Paris is nice.", capabilities=vanta.Capabilities())
    stage = Stage(HEDGE, {"local": local, "api": api})
    outcome = await stage.run()
    assert thoughts(stage)[-1] == ("api", "Second.")
    assert "First" not in outcome.text
    assert "Second" not in outcome.text


async def test_a_turn_sends_reasoning_as_json_and_not_as_text(tmp_path: Path) -> None:
    local = ScriptedEngine(Think("Hm."), "Yes.")
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        async with runtime.session("a").stream("Well?") as turn:
            events = [event async for event in turn]
        async with runtime.session("a").stream("Well?") as turn:
            texts = [str(text) async for text in turn.text()]
    (reasoning,) = [event for event in events if isinstance(event, ReasoningDelta)]
    data = json.loads(json.dumps(reasoning.to_dict()))
    assert data == {
        "type": "ReasoningDelta",
        "at_s": reasoning.at_s,
        "leg": 0,
        "track": "local",
        "text": "Hm.",
    }
    assert next(event for event in events if isinstance(event, LegStarted)).leg == reasoning.leg
    assert texts[-1] == "Yes."
    assert all("Hm" not in text for text in texts)
