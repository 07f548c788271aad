"""Gaps are filled from the pools: what is known stays, what is drawn is tied and repeatable."""

from __future__ import annotations

import pytest

from vanta.errors import ErrorKind, UsageError
from vanta_tuning.replay.recordings import Play, with_signal
from vanta_tuning.replay.sketches import Known, Pool, Sketch, fill

ANSWERS = [Play(n / 100, n / 100 + 1.0, 5, 20) for n in range(1, 101)]
FAILURE = Play(0.5, 0.5, error=ErrorKind.RATE_LIMITED, speaks=False)


def blank(turns: int) -> list[Sketch]:
    return [Sketch(str(number), {}) for number in range(turns)]


def test_what_was_recorded_stays_as_it_was() -> None:
    known = Known(ttft_s=0.2, total_s=0.9, input_tokens=3, output_tokens=4, score=1.0)
    filled = fill([Sketch("a", {"local": known})], {"api": Pool("api", ANSWERS)})
    (recording,) = filled.recordings
    assert recording.plays["local"] == Play(0.2, 0.9, 3, 4, score=1.0)
    assert recording.plays["api"] in ANSWERS
    assert (filled.plays, filled.drawn) == (2, 1)


def test_an_outcome_without_times_gets_the_times_of_a_measured_answer() -> None:
    sketch = Sketch("a", {"local": Known(score=0.0)})
    (recording,) = fill([sketch], {"local": Pool("local", ANSWERS)}).recordings
    play = recording.plays["local"]
    assert play.score == 0.0
    assert Play(play.ttft_s, play.total_s, 5, 20) in ANSWERS


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    pools = {"local": Pool("local", ANSWERS), "api": Pool("api", ANSWERS)}
    first = fill(blank(40), pools, seed=1).recordings
    assert fill(blank(40), pools, seed=1).recordings == first
    assert fill(blank(40), pools, seed=2).recordings != first


@pytest.mark.parametrize("correlation", [0.0, 0.57, 1.0])
def test_the_times_of_one_turn_are_tied_as_told(correlation: float) -> None:
    pools = {"local": Pool("local", ANSWERS), "api": Pool("api", ANSWERS)}
    recordings = fill(blank(3000), pools, correlation=correlation).recordings
    pairs = [(item.plays["local"].ttft_s, item.plays["api"].ttft_s) for item in recordings]
    # The rank correlation of a Gaussian copula is 6/pi asin(rho/2): 0.55 for 0.57.
    wanted = {0.0: 0.0, 0.57: 0.55, 1.0: 1.0}[correlation]
    assert _correlation(pairs) == pytest.approx(wanted, abs=0.06)


def test_what_is_drawn_is_tied_to_what_was_recorded_in_its_turn() -> None:
    sketches = [
        Sketch(str(n), {"local": Known(play.ttft_s, 9.0)}) for n, play in enumerate(ANSWERS)
    ]
    pools = {"local": Pool("local", ANSWERS), "api": Pool("api", ANSWERS)}
    pairs = [
        (item.plays["local"].ttft_s, item.plays["api"].ttft_s)
        for seed in range(20)
        for item in fill(sketches, pools, seed=seed).recordings
    ]
    assert _correlation(pairs) == pytest.approx(0.55, abs=0.06)


def test_a_track_that_was_stopped_in_silence_was_silent_for_longer() -> None:
    stopped = [Sketch(str(n), {"local": Known(silent_s=0.9)}) for n in range(50)]
    pool = Pool("local", [*ANSWERS, FAILURE])
    plays = [item.plays["local"] for item in fill(stopped, {"local": pool}).recordings]
    assert all(play.ttft_s > 0.9 and play.error is None for play in plays)


def test_one_that_was_silent_for_longer_than_any_answer_waits_once_more() -> None:
    (recording,) = fill(
        [Sketch("a", {"local": Known(silent_s=7.0)})], {"local": Pool("local", ANSWERS)}
    ).recordings
    assert 7.0 < recording.plays["local"].ttft_s <= 8.0


def test_a_track_that_was_stopped_while_it_spoke_began_as_recorded() -> None:
    known = Known(ttft_s=0.33, running_s=1.2)
    (recording,) = fill(
        [Sketch("a", {"local": known})], {"local": Pool("local", ANSWERS)}
    ).recordings
    play = recording.plays["local"]
    assert play.ttft_s == 0.33
    assert play.total_s == pytest.approx(1.33)


def test_failures_are_drawn_as_often_as_they_were_measured() -> None:
    pool = Pool("api", [*ANSWERS[:75], *[FAILURE] * 25])
    plays = [item.plays["api"] for item in fill(blank(2000), {"api": pool}).recordings]
    share = sum(play.error is not None for play in plays) / len(plays)
    assert share == pytest.approx(0.25, abs=0.03)


def test_a_recorded_number_of_tokens_stretches_the_drawn_answer() -> None:
    sketch = Sketch("a", {"api": Known(output_tokens=200)})
    pool = Pool("api", [Play(0.5, 1.5, 5, 20)])
    (recording,) = fill([sketch], {"api": pool}).recordings
    assert recording.plays["api"] == Play(0.5, 10.5, 5, 200)


def test_a_gap_that_nothing_can_fill_says_what_to_give() -> None:
    with pytest.raises(UsageError, match=r"no times of track 'local' are recorded. .*--latency"):
        fill([Sketch("a", {"local": Known(score=1.0)})], {})
    with pytest.raises(UsageError, match="no whole answer of track 'api' is recorded"):
        Pool("api", [FAILURE])
    with pytest.raises(UsageError, match=r"correlation must be between 0 and 1, not 1.5"):
        fill(blank(1), {}, correlation=1.5)


def test_a_modelled_signal_tells_right_from_wrong_as_well_as_told() -> None:
    sketches = [Sketch(str(n), {"local": Known(0.1, 0.2, score=float(n % 2))}) for n in range(900)]
    recordings = with_signal(fill(sketches, {}).recordings, 0.8)
    plays = [item.plays["local"] for item in recordings]
    right = [play.mean_logprob for play in plays if play.score]
    wrong = [play.mean_logprob for play in plays if not play.score]
    above = sum((r or 0) > (w or 0) for r in right for w in wrong)
    assert above / (len(right) * len(wrong)) == pytest.approx(0.8, abs=0.04)
    with pytest.raises(UsageError, match=r"AUROC must be between 0.5 and 1"):
        with_signal(recordings, 0.3)


def _correlation(pairs: list[tuple[float, float]]) -> float:
    from statistics import correlation

    return correlation([first for first, _ in pairs], [second for _, second in pairs])
