"""Rule 3: a committed leg that breaks is taken over; nothing is lost or shown twice."""

from __future__ import annotations

import dataclasses

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduling.clock import stand_still
from tests.scheduling.stage import Stage, states
from vanta.engine import Capabilities
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.events import LegFailed, Takeover
from vanta.scheduling.policy import API, PREFER, RACE
from vanta.scheduling.takeover import Seam, anchor
from vanta.testing import Fail, Hang, Pause, Say, ScriptedEngine, Wait

WHOLE = "One two three four five six seven eight nine ten."
NO_PREFIX = Capabilities()


def cut(at: int) -> ScriptedEngine:
    """Return an engine that breaks after `at` characters of the whole answer."""
    return ScriptedEngine(Say(WHOLE[:at]), Fail(ErrorKind.NETWORK))


def tracks(failure: AllTracksFailed) -> set[str | None]:
    """Return the tracks that a failure names."""
    return {error.track for error in failure.exceptions if isinstance(error, EngineError)}


@pytest.mark.anyio
async def test_a_track_with_prefix_continuation_continues_verbatim() -> None:
    stage = Stage(PREFER, {"api": cut(17), "local": ScriptedEngine(WHOLE)})
    outcome = await stage.run()
    assert outcome.text == stage.text == WHOLE
    assert states(outcome)[0] == ("api", "broken")
    assert outcome.leg is not None
    assert outcome.leg.track.name == "local"


@pytest.mark.anyio
async def test_the_seam_is_one_event_with_place_and_reason() -> None:
    stage = Stage(PREFER, {"api": cut(17), "local": ScriptedEngine(WHOLE)})
    await stage.run()
    (seam,) = stage.of(Takeover)
    assert (seam.from_track, seam.track, seam.shown_chars) == ("api", "local", 17)
    assert [event.error["kind"] for event in stage.of(LegFailed)] == ["network"]


@pytest.mark.anyio
async def test_a_track_without_prefix_continuation_is_asked_to_continue() -> None:
    shown = WHOLE[:29]
    continuation = anchor(shown) + WHOLE[29:]
    local = ScriptedEngine(continuation, capabilities=NO_PREFIX)
    stage = Stage(PREFER, {"api": cut(29), "local": local})
    outcome = await stage.run()
    assert outcome.text == WHOLE
    assert local.requests[-1].messages[-1].content == "go on"


@pytest.mark.anyio
async def test_a_winner_that_stalls_is_taken_over() -> None:
    api = ScriptedEngine(Say(WHOLE[:17]), Hang())
    stage = Stage(PREFER, {"api": api, "local": ScriptedEngine(WHOLE)}, stall_timeout_s=0.15)
    outcome = await stage.run()
    assert outcome.text == WHOLE
    assert [event.error["kind"] for event in stage.of(LegFailed)] == ["timeout"]
    assert api.streaming == 0


@pytest.mark.anyio
@pytest.mark.parametrize("last", [Say(WHOLE[17:]), Hang()], ids=["speaks", "is silent"])
async def test_a_blocked_event_loop_does_not_count_as_a_stall(last: Say | Hang) -> None:
    api = ScriptedEngine(Say(WHOLE[:17]), Pause(0.05), *[Pause(0.001)] * 3, last)
    stage = Stage(PREFER, {"api": api, "local": ScriptedEngine(WHOLE)}, stall_timeout_s=0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold_the_loop_up, 3 * stage.stall_timeout_s)
        outcome = await stage.run()
    assert outcome.text == WHOLE
    served_by = outcome.leg.track.name if outcome.leg else None
    assert served_by == ("api" if isinstance(last, Say) else "local")


async def hold_the_loop_up(seconds: float) -> None:
    """Block the loop for some seconds after the first content."""
    await anyio.sleep(0.02)
    stand_still(seconds)


@pytest.mark.anyio
async def test_if_the_successor_breaks_too_the_error_has_the_shown_text() -> None:
    stage = Stage(PREFER, {"api": cut(17), "local": ScriptedEngine(Fail(ErrorKind.SERVER))})
    outcome = await stage.run()
    assert outcome.failure is not None
    assert outcome.failure.partial == WHOLE[:17]
    assert tracks(outcome.failure) == {"api", "local"}


@pytest.mark.anyio
async def test_a_second_takeover_continues_both_parts() -> None:
    policy = dataclasses.replace(
        RACE, legs=(*RACE.legs, dataclasses.replace(RACE.legs[1], track="spare"))
    )
    gate = anyio.Event()
    local = ScriptedEngine(Say(WHOLE[:8]), Fail(ErrorKind.NETWORK))
    api = ScriptedEngine(scripts=[[Wait(gate)], [Say(WHOLE[:20]), Fail(ErrorKind.SERVER)]])
    spare = ScriptedEngine(scripts=[[Wait(gate)], [WHOLE]])
    stage = Stage(policy, {"local": local, "api": api, "spare": spare})
    outcome = await stage.run()
    assert outcome.text == WHOLE
    assert [seam.track for seam in stage.of(Takeover)] == ["api", "spare"]


@pytest.mark.anyio
async def test_a_policy_may_fail_instead_of_taking_over() -> None:
    policy = dataclasses.replace(PREFER, takeover="fail")
    stage = Stage(policy, {"api": cut(17), "local": ScriptedEngine(WHOLE)})
    outcome = await stage.run()
    assert isinstance(outcome.failure, AllTracksFailed)
    assert not stage.of(Takeover)


@pytest.mark.anyio
async def test_a_policy_with_one_track_has_no_takeover() -> None:
    stage = Stage(API, {"api": cut(17), "local": ScriptedEngine(WHOLE)})
    outcome = await stage.run()
    assert outcome.failure is not None
    assert tracks(outcome.failure) == {"api"}


@pytest.mark.anyio
async def test_an_answer_that_was_complete_when_it_broke_needs_no_more_text() -> None:
    api = ScriptedEngine(Say(WHOLE), Fail(ErrorKind.NETWORK))
    stage = Stage(PREFER, {"api": api, "local": ScriptedEngine(WHOLE)})
    outcome = await stage.run()
    assert outcome.failure is None
    assert outcome.text == WHOLE


@given(
    whole=st.text(alphabet="abc de\n", min_size=20, max_size=80),
    at=st.integers(min_value=10, max_value=19),
    size=st.integers(min_value=1, max_value=9),
)
def test_a_repeated_anchor_is_cut_however_it_is_split(whole: str, at: int, size: int) -> None:
    shown, rest = whole[:at], whole[at:]
    overlap = shown[-max(6, len(shown) // 2) :].lstrip()
    if len(overlap) < 6:
        return
    continuation = overlap + rest
    seam = Seam(shown)
    pieces = [seam.feed(continuation[i : i + size]) for i in range(0, len(continuation), size)]
    joined = shown + "".join(pieces) + seam.flush()
    assert joined.startswith(shown)
    # The longest overlap is cut; where the text repeats itself, more can agree than was meant.
    assert whole.endswith(joined[len(shown) :])


@given(st.text(alphabet="xyz ", min_size=1, max_size=60), st.integers(1, 7))
def test_a_continuation_without_overlap_is_shown_whole(continuation: str, size: int) -> None:
    seam = Seam("Once upon a time there was")
    pieces = [seam.feed(continuation[i : i + size]) for i in range(0, len(continuation), size)]
    assert "".join(pieces) + seam.flush() == continuation
