"""Retries, breakers and Retry-After: a track is asked again only where that may help."""

from __future__ import annotations

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import EngineError, ErrorKind
from vanta.events import LegStarted
from vanta.scheduling.leg import BACKOFF_S, backoff_s
from vanta.scheduling.policy import HEDGE, LOCAL, PREFER
from vanta.scheduling.track_stats import HealthRule, TrackHealth, TrackStats
from vanta.testing import Fail, Say, ScriptedEngine


def busy(after_s: float | None = 0.01, kind: ErrorKind = ErrorKind.RATE_LIMITED) -> EngineError:
    """An error that may pass; the server asks to wait so many seconds."""
    return EngineError(kind, "busy", engine="scripted", retry_after_s=after_s)


@pytest.mark.anyio
async def test_a_passing_error_is_retried_after_as_long_as_the_server_asked() -> None:
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
async def test_an_error_that_will_not_pass_is_not_retried(kind: ErrorKind) -> None:
    engine = ScriptedEngine(Fail(kind))
    assert (await Stage(LOCAL, {"local": engine}, retries=3).run()).failure is not None
    assert len(engine.runs) == 1


@pytest.mark.anyio
async def test_a_track_is_asked_no_more_often_than_it_may_be() -> None:
    engine = ScriptedEngine(Fail(busy(0.001)))
    outcome = await Stage(LOCAL, {"local": engine}, retries=2).run()
    assert outcome.failure is not None
    assert len(engine.runs) == len(outcome.failure.exceptions) == 3


@pytest.mark.anyio
async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
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


def test_a_breaker_opens_after_so_many_failures_in_a_row() -> None:
    assert failing(2).refusal(2.0) is None
    assert "failed 3 times in a row" in str(failing(3).refusal(3.0))


def test_a_success_in_between_starts_the_count_anew() -> None:
    health = failing(2)
    health.succeeded()
    health.failed(busy(None), 3.0)
    assert health.refusal(3.0) is None


def test_after_the_cooldown_one_turn_probes_and_the_others_wait() -> None:
    health = failing(3)
    assert health.refusal(12.0) is None
    health.ask(12.0)
    assert "another turn is probing it" in str(health.refusal(12.0))
    health.succeeded()
    assert health.refusal(12.0) is None


def test_a_failed_probe_opens_the_breaker_for_twice_as_long() -> None:
    health = failing(3)
    health.ask(12.0)
    health.failed(busy(None, ErrorKind.SERVER), 12.0)
    assert health.refusal(31.0) is not None
    assert health.refusal(32.5) is None


def test_a_probe_that_was_cancelled_says_nothing() -> None:
    health = failing(3)
    health.ask(12.0)
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


def test_an_open_breaker_asks_a_turn_without_another_track_for_no_wait() -> None:
    health = failing(3)
    assert health.refusal(3.0)
    assert health.wait_s(3.0) == 0.0


@pytest.mark.anyio
async def test_a_track_that_may_not_be_asked_in_time_fails_the_turn_at_once() -> None:
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
async def test_a_track_that_may_be_asked_in_time_is_asked_then() -> None:
    engine = ScriptedEngine("there")
    stage = Stage(LOCAL, {"local": engine}, deadline_s=30, earliest_s={"local": 0.05})
    outcome = await stage.run()
    assert outcome.text == "there"
    assert outcome.legs[0].started_s >= 0.05


@pytest.mark.anyio
async def test_a_race_tells_what_it_saw_of_each_track() -> None:
    experience = TrackStats(HealthRule(failures=1, cooldown_s=60))
    engines = {
        "local": ScriptedEngine(Say("ok")),
        "api": ScriptedEngine(Fail(ErrorKind.NETWORK)),
    }
    await Stage(PREFER, engines, experience=experience).run()
    resting = experience.refusals(engines, anyio.current_time())
    assert list(resting) == ["api"]
