"""Statistics of tracks: retries, breakers, Retry-After, learned delays, the cap on hedges."""

from __future__ import annotations

import random

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import EngineError, ErrorKind
from vanta.events import LegStarted
from vanta.scheduling.leg_errors import BACKOFF_S, backoff_s
from vanta.scheduling.policy import HEDGE, LOCAL, PREFER, RACE, adapt
from vanta.scheduling.track_stats import (
    ENOUGH,
    MAX_DELAY_S,
    WINDOW,
    HealthRule,
    HedgeBudget,
    LearnedDelays,
    SilenceSketch,
    TrackHealth,
    TrackStats,
)
from vanta.testing import Fail, Hang, Say, ScriptedEngine


def busy(after_s: float | None = 0.01, kind: ErrorKind = ErrorKind.RATE_LIMITED) -> EngineError:
    """Return a temporary error whose server requests a wait."""
    return EngineError(kind, "busy", engine="scripted", retry_after_s=after_s)


@pytest.mark.anyio
async def test_a_temporary_error_is_retried_after_the_requested_wait() -> None:
    engine = ScriptedEngine(scripts=[[Fail(busy(0.03))], ["fine"]])
    stage = Stage(LOCAL, {"local": engine}, retries=1)
    outcome = await stage.run()
    assert outcome.text == "fine"
    assert states(outcome) == [("local", "failed"), ("local", "won")]
    first, second = stage.of(LegStarted)
    assert second.at_s - first.at_s >= 0.03
    assert second.why == "retry"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind", [ErrorKind.AUTH, ErrorKind.BAD_REQUEST, ErrorKind.CONTEXT_OVERFLOW]
)
async def test_a_permanent_error_is_not_retried(kind: ErrorKind) -> None:
    engine = ScriptedEngine(Fail(kind))
    assert (await Stage(LOCAL, {"local": engine}, retries=3).run()).failure is not None
    assert len(engine.runs) == 1


@pytest.mark.anyio
async def test_a_track_is_retried_at_most_as_often_as_allowed() -> None:
    engine = ScriptedEngine(Fail(busy(0.001)))
    outcome = await Stage(LOCAL, {"local": engine}, retries=2).run()
    assert outcome.failure is not None
    assert len(engine.runs) == len(outcome.failure.exceptions) == 3


@pytest.mark.anyio
async def test_a_retry_beyond_the_deadline_is_not_scheduled() -> None:
    engine = ScriptedEngine(Fail(busy(60)))
    outcome = await Stage(LOCAL, {"local": engine}, retries=1, deadline_s=5).run()
    assert outcome.failure is not None
    assert len(engine.runs) == 1


@pytest.mark.anyio
async def test_nothing_is_retried_while_another_track_may_answer() -> None:
    local = ScriptedEngine(Fail(busy()))
    stage = Stage(HEDGE, {"local": local, "api": ScriptedEngine(Say("ok"))}, retries=3)
    assert (await stage.run()).text == "ok"
    assert len(local.runs) == 1


@pytest.mark.anyio
async def test_nothing_is_retried_after_text_was_shown() -> None:
    engine = ScriptedEngine(Say("half"), Fail(busy()))
    outcome = await Stage(LOCAL, {"local": engine}, retries=3).run()
    assert outcome.failure is not None
    assert outcome.failure.partial == "half"
    assert len(engine.runs) == 1


@pytest.mark.anyio
async def test_a_takeover_that_fails_is_not_retried_either() -> None:
    api = ScriptedEngine(Say("half"), Fail(busy()))
    local = ScriptedEngine(scripts=[[Say("x")], [Fail(busy())]])
    stage = Stage(PREFER, {"api": api, "local": local}, retries=3)
    assert (await stage.run()).failure is not None


def test_backoff_doubles_with_full_jitter_and_obeys_the_server() -> None:
    plain = busy(None)
    for attempt in (1, 2, 3):
        waits = [backoff_s(plain, attempt) for _ in range(200)]
        assert max(waits) <= BACKOFF_S * 2 ** (attempt - 1)
        assert min(waits) < max(waits) / 2
    assert backoff_s(busy(7.0), 1) == 7.0


def failing(times: int) -> TrackHealth:
    health = TrackHealth(HealthRule(failures=3, cooldown_s=10))
    for second in range(times):
        health.failed(busy(None, ErrorKind.SERVER), float(second))
    return health


def test_a_breaker_opens_after_some_failures_in_a_row() -> None:
    assert failing(2).refusal(2.0) is None
    assert "failed 3 times in a row" in str(failing(3).refusal(3.0))


def test_a_success_resets_the_count_of_failures() -> None:
    health = failing(2)
    health.succeeded()
    health.failed(busy(None), 3.0)
    assert health.refusal(3.0) is None


def test_after_the_cooldown_one_turn_probes_and_the_others_wait() -> None:
    health = failing(3)
    assert health.refusal(12.0) is None
    health.started(12.0)
    assert "another turn is probing it" in str(health.refusal(12.0))
    health.succeeded()
    assert health.refusal(12.0) is None


def test_a_failed_probe_opens_the_breaker_for_twice_as_long() -> None:
    health = failing(3)
    health.started(12.0)
    health.failed(busy(None, ErrorKind.SERVER), 12.0)
    assert health.refusal(31.0) is not None
    assert health.refusal(32.5) is None


def test_a_cancelled_probe_changes_nothing() -> None:
    health = failing(3)
    health.started(12.0)
    health.unknown()
    assert health.refusal(12.0) is None


def test_an_error_of_the_caller_does_not_open_the_breaker() -> None:
    health = TrackHealth(HealthRule(failures=1))
    health.failed(busy(None, ErrorKind.BAD_REQUEST), 0.0)
    assert health.refusal(0.0) is None


def test_retry_after_blocks_the_track_until_then() -> None:
    health = TrackHealth()
    health.failed(busy(5.0), 0.0)
    assert "requested a wait" in str(health.refusal(4.0))
    assert health.wait_s(4.0) == 1.0
    assert health.refusal(5.0) is None


def test_an_open_breaker_does_not_delay_a_turn_without_another_track() -> None:
    health = failing(3)
    assert health.refusal(3.0)
    assert health.wait_s(3.0) == 0.0


@pytest.mark.anyio
async def test_a_retry_after_beyond_the_deadline_fails_the_turn_at_once() -> None:
    engine = ScriptedEngine("never")
    stage = Stage(LOCAL, {"local": engine}, deadline_s=30, earliest_s={"local": 60.0})
    failure = (await stage.run()).failure
    assert failure is not None
    (error,) = failure.exceptions
    assert isinstance(error, EngineError)
    assert error.kind is ErrorKind.RATE_LIMITED
    assert error.retry_after_s == pytest.approx(60, abs=5)
    assert engine.runs == []


@pytest.mark.anyio
async def test_a_retry_after_within_the_deadline_delays_the_start() -> None:
    engine = ScriptedEngine("there")
    stage = Stage(LOCAL, {"local": engine}, deadline_s=30, earliest_s={"local": 0.05})
    outcome = await stage.run()
    assert outcome.text == "there"
    assert outcome.legs[0].started_s >= 0.05


@pytest.mark.anyio
async def test_a_race_records_what_it_saw_of_each_track() -> None:
    track_stats = TrackStats(HealthRule(failures=1, cooldown_s=60))
    engines = {
        "local": ScriptedEngine(Say("ok")),
        "api": ScriptedEngine(Fail(ErrorKind.NETWORK)),
    }
    await Stage(PREFER, engines, track_stats=track_stats).run()
    resting = track_stats.refusals(engines, anyio.current_time())
    assert list(resting) == ["api"]


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


def test_old_observations_are_dropped() -> None:
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


def test_the_hedge_budget_is_never_exceeded() -> None:
    bucket = HedgeBudget(burst=2)
    taken = 0
    for _ in range(1000):
        bucket.turn(0.1)
        taken += bucket.take()
    assert taken <= 2 + 1000 * 0.1


@pytest.mark.anyio
async def test_when_the_cap_is_reached_a_delayed_leg_waits_to_be_called() -> None:
    policy = adapt(HEDGE, name="hedge", delay_s=0.005, max_extra_share=0.0)
    track_stats = TrackStats()
    for _ in range(10):
        may = track_stats.may_hedge(policy)
        assert may("api")
    api = ScriptedEngine(Say("a"))
    stage = Stage(
        policy,
        {"local": ScriptedEngine(Hang()), "api": api},
        track_stats=track_stats,
        deadline_s=0.1,
    )
    assert (await stage.run()).failure is not None
    assert api.runs == []


@pytest.mark.anyio
async def test_a_silence_that_was_cut_short_counts_as_at_least_that_long() -> None:
    track_stats = TrackStats()
    policy = adapt(HEDGE, name="hedge", delay_s=0.01, max_extra_share=1.0)
    for _ in range(ENOUGH):
        engines = {"local": ScriptedEngine(Hang()), "api": ScriptedEngine(Say("a"))}
        outcome = await Stage(policy, engines, track_stats=track_stats).run()
        assert states(outcome)[0] == ("local", "cancelled")
    learned = track_stats.resolve(HEDGE).legs[1].start_after_s
    assert learned is not None
    assert learned >= 0.009


@pytest.mark.parametrize("requested_s", [1e12, float("inf"), float("nan"), -5.0])
def test_no_requested_wait_keeps_a_track_away_for_more_than_an_hour(requested_s: float) -> None:
    health = TrackHealth()
    health.failed(busy(requested_s), now=100.0)
    assert 0 <= health.wait_s(now=100.0) <= 3600
    assert health.wait_s(now=3701.0) == 0
    assert 0 <= backoff_s(busy(requested_s), 1) <= 3600


def test_one_retry_after_is_believed_for_five_minutes_and_more_if_it_is_repeated() -> None:
    health = TrackHealth()
    waits = []
    for _ in range(5):
        health.failed(busy(3600.0), 0.0)
        waits.append(health.wait_s(0.0))
    assert waits == [300.0, 600.0, 1200.0, 2400.0, 3600.0]
    health.succeeded()
    health.failed(busy(3600.0), 0.0)
    assert health.wait_s(0.0) == 300.0


def test_what_was_learnt_about_a_track_is_listed_and_forgotten() -> None:
    track_stats = TrackStats(HealthRule(failures=1, cooldown_s=20))
    health = track_stats.health("api")
    health.started(0.0)
    health.failed(busy(5.0), 0.0)
    facts = {fact.what: fact.left_s for fact in track_stats.learnt("api", 1.0)}
    assert facts == {"wait": 4.0, "pause": 19.0}
    assert {fact.what for fact in track_stats.learnt("api", 10.0)} == {"pause"}
    track_stats.forget("api", "delay")
    assert track_stats.learnt("api", 1.0)
    track_stats.forget("api")
    assert track_stats.learnt("api", 1.0) == []
    assert track_stats.refusals(["api"], 1.0) == {}


def learned(*silences_s: tuple[float, float]) -> LearnedDelays:
    delays = LearnedDelays()
    for seconds, now in silences_s:
        delays.note("local", seconds, now)
    return delays


def test_a_learned_delay_is_never_longer_than_half_a_minute() -> None:
    delays = learned(*[(500.0, 0.0)] * 30)
    assert delays.resolve(HEDGE).legs[1].start_after_s == MAX_DELAY_S


def test_silences_of_over_two_hours_ago_do_not_count() -> None:
    delays = learned(*[(9.0, 0.0)] * 30, *[(1.0, 7200.0)] * 30)
    assert delays.resolve(HEDGE).legs[1].start_after_s == pytest.approx(1.0, rel=0.05)
    assert list(delays.learnt("local", 7200.0))
    assert list(delays.learnt("local", 15_000.0)) == []
    delays.forget("local")
    assert delays.resolve(HEDGE).legs[1].start_after_s == HEDGE.legs[1].start_after_s
