"""Random races on a virtual clock: the rules hold for all tracks and policies."""

from __future__ import annotations

import anyio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.stage import Stage
from vanta.errors import ErrorKind
from vanta.events import (
    Amended,
    Committed,
    LegCancelled,
    LegFailed,
    LegFinished,
    LegRejected,
    LegStarted,
    Takeover,
    TextDelta,
)
from vanta.scheduling.policy import GateRule, LegPlan, Policy
from vanta.scheduling.race_plan import RaceOutcome
from vanta.testing import Fail, Finish, Hang, Pause, Say, ScriptedEngine, Step, Think

TRACKS = ("local", "api", "spare")
DEADLINE_S = 20.0

seconds = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])
deltas = st.builds(
    Say,
    st.sampled_from(["one ", "two", " three", "yes", "No.", " ", "\n", ""]),
    st.sampled_from([-0.1, -1.0, -3.0]),
)
silences = st.one_of(st.builds(Pause, seconds), st.builds(Think, st.just("hmm")), deltas)
errors = st.sampled_from([ErrorKind.SERVER, ErrorKind.AUTH, ErrorKind.RATE_LIMITED])
ends: st.SearchStrategy[list[Step]] = st.one_of(
    st.just([]),
    st.just([]),
    st.just([Finish("stop")]),
    st.just([Finish("length")]),
    errors.map(lambda kind: [Fail(kind)]),
    st.just([Hang()]),
    st.just([Pause(30.0), Say("late")]),
)
scripts = st.builds(
    lambda before, answer, end: [*before, *answer, *end],
    st.lists(silences, max_size=2),
    st.lists(deltas, min_size=1, max_size=4),
    ends,
)
legs = st.builds(
    LegPlan,
    st.sampled_from(TRACKS),
    start_after_s=st.one_of(st.none(), seconds),
    when=st.sampled_from(["always", "hard", "easy"]),
    commit_on=st.sampled_from(["first_content", "first_content", "verdict"]),
    hold_s=st.one_of(st.none(), seconds),
    amends=st.booleans(),
)
policies = st.builds(
    Policy,
    st.just("any"),
    st.just("any"),
    st.lists(legs, min_size=2, max_size=3, unique_by=lambda leg: leg.track).map(tuple),
    gate=st.one_of(st.none(), st.builds(GateRule, verify_with=st.sampled_from([None, *TRACKS]))),
    takeover=st.sampled_from(["continue", "restart", "fail"]),
    last_resort=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(
    policy=policies,
    played=st.fixed_dictionaries({track: st.lists(scripts, min_size=1) for track in TRACKS}),
    hard=st.sampled_from([None, True, False]),
    retries=st.integers(0, 2),
    stall_timeout_s=st.sampled_from([2.0, 60.0]),
)
def test_the_rules_hold(
    policy: Policy,
    played: dict[str, list[list[Step]]],
    hard: bool | None,
    retries: int,
    stall_timeout_s: float,
) -> None:
    engines = {track: ScriptedEngine(scripts=played[track]) for track in TRACKS}
    stage = Stage(
        policy,
        engines,
        deadline_s=DEADLINE_S,
        stall_timeout_s=stall_timeout_s,
        hard=hard,
        retries=retries,
    )
    clock = trio.testing.MockClock(autojump_threshold=0)
    outcome = anyio.run(stage.run, backend="trio", backend_options={"clock": clock})
    _everything_ended(stage, engines, outcome)
    _text_is_what_was_shown(stage, outcome)
    _every_leg_has_its_end(stage, outcome)


def _everything_ended(
    stage: Stage, engines: dict[str, ScriptedEngine], outcome: RaceOutcome
) -> None:
    """Rules 2, 4, 7 and 8."""
    assert all(engine.streaming == 0 for engine in engines.values())
    assert all(leg.ended for leg in outcome.legs)
    assert (outcome.leg is None) == (outcome.failure is not None)
    assert max((event.at_s for event in stage.events), default=0.0) <= DEADLINE_S
    assert len(stage.of(Committed)) <= 1


def _text_is_what_was_shown(stage: Stage, outcome: RaceOutcome) -> None:
    """Rules 1 and 3: the reply is the text of the events, and is readable."""
    text = ""
    for event in stage.events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Takeover) and event.restarts:
            text = ""
        elif isinstance(event, Amended):
            text = event.text
    assert outcome.text == text
    if outcome.failure is None:
        assert text.strip()


def _every_leg_has_its_end(stage: Stage, outcome: RaceOutcome) -> None:
    """Rule 4: every leg that started has exactly one reported end."""
    started = [event.leg for event in stage.of(LegStarted)]
    assert started == list(range(len(outcome.legs)))
    heard = {event.leg for event in stage.of(LegFinished)}
    heard |= {event.leg for event in stage.of(LegFailed)}
    heard |= {event.leg for event in stage.of(LegCancelled)}
    heard |= {event.leg for event in stage.of(LegRejected)}
    for leg in outcome.legs:
        cut = leg is outcome.leg and outcome.finish_reason == "deadline"
        assert leg.number in heard or cut, (
            f"leg {leg.number} ({leg.state}) began and was never heard of again"
        )
