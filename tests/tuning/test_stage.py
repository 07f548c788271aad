"""A replay is the scheduler's own doing: tiny tables, worked out by hand, for every policy."""

from __future__ import annotations

import pytest

from vanta.errors import ErrorKind, UsageError
from vanta.scheduling import (
    API,
    BUILTIN,
    CASCADE,
    HEDGE,
    LOCAL,
    PREFER,
    RACE,
    REFINE,
    ROUTE,
    GateRule,
    HealthRule,
    LegPlan,
    Policy,
    adapt,
)
from vanta.track import Price
from vanta_tuning.replay.recordings import Play, Recording
from vanta_tuning.replay.stage import Result, Rules, replay

PRICES = {"api": Price(input_usd_per_mtok=1_000_000, output_usd_per_mtok=10_000_000)}
RULES = Rules(prices=PRICES)
"""The api costs 1 USD a token read, 10 a token written: bills can be added up in the head."""

QUICK = Play(0.25, 1.0, input_tokens=3, output_tokens=4, score=0.0, mean_logprob=-2.0)
SLOW = Play(3.0, 5.0, input_tokens=3, output_tokens=4, score=0.0, mean_logprob=-0.1)
API_PLAY = Play(0.5, 2.5, input_tokens=7, output_tokens=8, score=1.0)
DEAD = Play(0.125, 0.125, input_tokens=3, error=ErrorKind.SERVER, speaks=False, score=1.0)
CUT = Play(0.25, 0.75, input_tokens=3, output_tokens=4, error=ErrorKind.NETWORK, score=1.0)


def turn(local: Play, api: Play = API_PLAY) -> list[Recording]:
    return [Recording("a", {"local": local, "api": api})]


def only(
    local: Play, policy: Policy, *, api: Play = API_PLAY, rules: Rules = RULES
) -> tuple[str | None, tuple[str, ...], float | None, float, float, float | None]:
    (result,) = replay(turn(local, api), policy, rules)
    return (
        result.track,
        result.asked,
        result.first_content_s,
        result.duration_s,
        result.cost_usd,
        result.score,
    )


def test_one_track_alone_plays_as_it_was_recorded() -> None:
    assert only(QUICK, LOCAL) == ("local", ("local",), 0.25, 1.0, 0.0, 0.0)
    assert only(QUICK, API) == ("api", ("api",), 0.5, 2.5, 87.0, 1.0)


def test_a_race_is_won_by_the_first_word_and_the_loser_is_billed_what_it_said_by_then() -> None:
    assert only(QUICK, RACE) == ("local", ("local", "api"), 0.25, 1.0, 7.0, 0.0)
    late = Play(1.0, 2.0, score=0.0)
    assert only(late, RACE) == ("api", ("local", "api"), 0.5, 2.5, 87.0, 1.0)


def test_the_loser_pays_for_the_tokens_that_it_had_written() -> None:
    policy = adapt(PREFER, name="p", tracks=["local", "api"], hold_s=2.0)
    # The api speaks at 0.5 s and is held; local speaks at 1.5 s, when it has written half of 8.
    result = only(Play(1.5, 2.0, score=0.0), policy)
    assert result == ("local", ("local", "api"), 1.5, 2.0, 7.0 + 10 * 4, 0.0)


def test_a_hedge_begins_only_after_its_delay() -> None:
    hedge = adapt(HEDGE, name="h", delay_s=1.0)
    assert only(QUICK, hedge) == ("local", ("local",), 0.25, 1.0, 0.0, 0.0)
    assert only(SLOW, hedge) == ("api", ("local", "api"), 1.5, 3.5, 87.0, 1.0)


def test_a_cascade_asks_the_real_gate() -> None:
    assert only(QUICK, CASCADE) == ("api", ("local", "api"), 1.5, 3.5, 87.0, 1.0)
    assert only(SLOW, CASCADE) == ("local", ("local",), 5.0, 5.0, 0.0, 0.0)
    lenient = adapt(CASCADE, name="c", gate=GateRule(min_mean_logprob=-3.0))
    assert only(QUICK, lenient) == ("local", ("local",), 1.0, 1.0, 0.0, 0.0)


def test_where_only_the_verdict_was_recorded_the_gate_repeats_it() -> None:
    yes, no = Play(0.5, 1.0, accepted=True), Play(0.5, 1.0, accepted=False)
    assert only(yes, CASCADE)[0] == "local"
    assert only(no, CASCADE)[0] == "api"


def test_the_preferred_track_wins_in_time_and_the_other_where_it_is_late() -> None:
    assert only(QUICK, PREFER) == ("api", ("api", "local"), 0.5, 2.5, 87.0, 1.0)
    late = Play(4.0, 6.0, input_tokens=7, output_tokens=8, score=1.0)
    assert only(QUICK, PREFER, api=late) == ("local", ("api", "local"), 2.0, 2.0, 7.0, 0.0)
    slow = adapt(PREFER, name="p", hold_s=0.5)
    assert only(QUICK, slow, api=late) == ("local", ("api", "local"), 0.5, 1.0, 7.0, 0.0)


def test_a_hedge_learns_how_long_its_first_track_is_usually_silent() -> None:
    usual, late = Play(0.125, 1.0), Play(9.0, 10.0)
    recordings = [
        Recording(str(n), {"local": late if n in (5, 60) else usual, "api": API_PLAY})
        for n in range(61)
    ]
    results = replay(recordings, HEDGE)
    assert results[5].first_content_s == 0.5 + 0.5, "nothing is known yet: the fixed delay"
    assert results[60].first_content_s == pytest.approx(0.125 + 0.5, rel=0.02)


def test_a_track_that_keeps_failing_is_given_a_rest() -> None:
    results = replay(
        [Recording(str(n), {"local": DEAD, "api": API_PLAY}) for n in range(12)],
        HEDGE,
        Rules(health=HealthRule(failures=3, cooldown_s=1000)),
    )
    asked = [result.asked.count("local") for result in results]
    assert asked[0] == 1
    assert asked[-1] == 0
    assert {result.track for result in results} == {"api"}


def test_an_answer_that_the_other_track_contradicts_is_amended() -> None:
    assert only(QUICK, REFINE)[:4] == ("api", ("local", "api"), 0.25, 2.5)
    right = Play(0.25, 1.0, score=1.0)
    assert only(right, REFINE)[:4] == ("local", ("local", "api"), 0.25, 2.5)


def test_the_router_is_asked_where_there_is_one() -> None:
    rules = Rules(is_hard=lambda text, policy: policy.routes and text == "hard")
    hard = Recording("h", {"local": QUICK, "api": API_PLAY}, text="hard")
    easy = Recording("e", {"local": QUICK, "api": API_PLAY}, text="easy")
    assert [result.track for result in replay([hard, easy], ROUTE, rules)] == ["api", "local"]


def test_a_leg_that_fails_calls_the_one_that_waits() -> None:
    hedge = adapt(HEDGE, name="h", delay_s=1.0)
    assert only(DEAD, hedge) == ("api", ("local", "api"), 0.625, 2.625, 87.0, 1.0)


def test_a_broken_answer_is_taken_over() -> None:
    track, asked, first_s, duration_s, _, score = only(CUT, RACE, rules=Rules())
    assert (track, first_s, score) == ("api", 0.25, 1.0)
    assert asked == ("local", "api", "api")
    assert duration_s == 0.75 + 2.5


def test_a_turn_that_nobody_answers_is_wrong_and_never_speaks() -> None:
    policy = Policy("l", "", (LegPlan("local"),), takeover="fail")
    quick_end = Rules(deadline_s=0.2)
    track, _, first_s, _, _, score = only(QUICK, policy, rules=quick_end)
    assert (track, first_s, score) == (None, None, 0.0)


def test_the_deadline_cuts_a_long_answer() -> None:
    result = only(SLOW, LOCAL, rules=Rules(deadline_s=4.0))
    assert result == ("local", ("local",), 3.0, 4.0, 0.0, 0.0)


def test_a_long_answer_is_no_stall() -> None:
    long = Play(0.5, 50.0, output_tokens=400, score=1.0)
    assert only(long, LOCAL, rules=Rules(stall_timeout_s=1.0))[:4] == (
        "local",
        ("local",),
        0.5,
        50.0,
    )


@pytest.mark.parametrize("policy", BUILTIN, ids=lambda policy: policy.name)
def test_every_policy_answers_and_twice_the_same(policy: Policy) -> None:
    recordings = [
        Recording(str(number), {"local": local, "api": API_PLAY})
        for number, local in enumerate((QUICK, SLOW, DEAD, CUT) * 3)
    ]
    first = replay(recordings, policy, RULES, seed=4)
    assert [result.id for result in first] == [recording.id for recording in recordings]
    assert replay(recordings, policy, RULES, seed=4) == first


def test_turns_that_arrive_together_overlap() -> None:
    plays = {"local": QUICK, "api": API_PLAY}
    apart = [Recording(str(number), plays, arrives_s=number * 0.1) for number in range(50)]
    results = replay(apart, LOCAL)
    assert [_times(result) for result in results] == [(0.25, 1.0)] * 50


def test_a_policy_with_a_track_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(
        UsageError, match="policy 'race' uses track 'api', which turn 'a' does not record"
    ):
        replay([Recording("a", {"local": QUICK})], RACE)


def test_two_turns_with_one_id_are_refused() -> None:
    with pytest.raises(UsageError, match="2 turns have the id 'a'"):
        replay(turn(QUICK) * 2, LOCAL)


def test_nothing_to_replay_gives_nothing() -> None:
    assert replay([], LOCAL) == []


def _times(result: Result) -> tuple[float, float]:
    assert result.first_content_s is not None
    return round(result.first_content_s, 9), round(result.duration_s, 9)
