"""Learned delays and the cap on extra calls."""

from __future__ import annotations

import random

import pytest

from tests.scheduling.stage import Stage, states
from vanta.scheduling.policy import HEDGE, RACE, adapt
from vanta.scheduling.track_stats import (
    ENOUGH,
    WINDOW,
    HedgeBudget,
    LearnedDelays,
    SilenceSketch,
    TrackStats,
)
from vanta.testing import Hang, Say, ScriptedEngine


def test_a_quantile_is_known_once_enough_was_seen() -> None:
    silence = SilenceSketch()
    for _ in range(ENOUGH - 1):
        silence.note(0.1)
    assert silence.quantile(0.9) is None
    silence.note(0.1)
    assert silence.quantile(0.9) == pytest.approx(0.1, rel=0.02)


def test_quantiles_are_within_the_error_of_the_sketch() -> None:
    silence, rng = SilenceSketch(), random.Random(7)  # noqa: S311 - a test's
    seen = [rng.lognormvariate(-1, 0.8) for _ in range(WINDOW - 1)]
    for value in seen:
        silence.note(value)
    for share in (0.5, 0.9, 0.95):
        exact = sorted(seen)[int(share * (len(seen) - 1))]
        assert silence.quantile(share) == pytest.approx(exact, rel=0.03)


def test_what_is_long_past_is_forgotten() -> None:
    silence = SilenceSketch()
    for _ in range(WINDOW):
        silence.note(10.0)
    for _ in range(2 * WINDOW):
        silence.note(0.1)
    assert silence.quantile(0.99) == pytest.approx(0.1, rel=0.02)


def test_a_policy_gets_its_learned_delay_and_keeps_a_fixed_one() -> None:
    delays = LearnedDelays()
    assert delays.resolve(HEDGE) == HEDGE
    for _ in range(ENOUGH):
        delays.note("local", 0.2)
    learned = delays.resolve(HEDGE).legs[1].start_after_s
    assert learned == pytest.approx(0.2, rel=0.02)
    fixed = adapt(HEDGE, name="hedge", delay_s=0.7)
    assert delays.resolve(fixed) == fixed
    assert delays.resolve(RACE) == RACE


def test_the_bucket_never_lends() -> None:
    bucket = HedgeBudget(burst=2)
    taken = 0
    for _ in range(1000):
        bucket.turn(0.1)
        taken += bucket.take()
    assert taken <= 2 + 1000 * 0.1


@pytest.mark.anyio
async def test_when_the_cap_is_reached_a_delayed_leg_waits_to_be_called() -> None:
    policy = adapt(HEDGE, name="hedge", delay_s=0.005, max_extra_share=0.0)
    experience = TrackStats()
    for _ in range(10):
        may = experience.may_hedge(policy)
        assert may("api")
    api = ScriptedEngine(Say("a"))
    stage = Stage(
        policy, {"local": ScriptedEngine(Hang()), "api": api}, experience=experience, deadline_s=0.1
    )
    assert (await stage.run()).failure is not None
    assert api.runs == []


@pytest.mark.anyio
async def test_a_silence_that_was_cut_short_counts_as_at_least_that_long() -> None:
    experience = TrackStats()
    policy = adapt(HEDGE, name="hedge", delay_s=0.01, max_extra_share=1.0)
    for _ in range(ENOUGH):
        engines = {"local": ScriptedEngine(Hang()), "api": ScriptedEngine(Say("a"))}
        outcome = await Stage(policy, engines, experience=experience).run()
        assert states(outcome)[0] == ("local", "cancelled")
    learned = experience.resolve(HEDGE).legs[1].start_after_s
    assert learned is not None
    assert learned >= 0.009
