"""Rule 1: a race is decided by first content, never by headers, reasoning or an empty delta."""

from __future__ import annotations

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.events import Committed
from vanta.scheduling.policy import RACE
from vanta.testing import Say, ScriptedEngine, Think, Wait

pytestmark = pytest.mark.anyio


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


async def test_of_two_that_speak_the_first_to_speak_wins_not_the_first_in_the_policy() -> None:
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


async def test_the_turn_commits_exactly_once_however_much_both_say() -> None:
    stage = Stage(
        RACE,
        {"local": ScriptedEngine("a b c d e f"), "api": ScriptedEngine("1 2 3 4 5 6")},
    )
    outcome = await stage.run()
    assert len(stage.of(Committed)) == 1
    assert outcome.text in ("a b c d e f", "1 2 3 4 5 6")
