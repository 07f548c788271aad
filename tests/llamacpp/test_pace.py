"""How many threads steps are taken with, decided on recorded and on modelled step times."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.llamacpp.support import MakeEngine, answer, request
from vanta_llamacpp.model.native import others_running
from vanta_llamacpp.worker.thread_tuning import (
    FIRST_WAIT,
    LONGEST_WAIT,
    SHARE,
    SMALLEST_CHUNK,
    Pace,
)

# Milliseconds of a step by threads, as measured on two cores.
QUIET = {1: 10.4, 2: 5.0}
ONE_CORE_TAKEN = {1: 10.6, 2: 17.0}
BOTH_TAKEN = {1: 21.0, 2: 270.0}
TWO_OF_EIGHT = {8: 40.0, 7: 30.0, 6: 9.0, 5: 10.0, 4: 11.0, 3: 14.0, 2: 20.0, 1: 40.0}
QUIET_EIGHT = {threads: 40.0 / threads for threads in range(1, 9)}


def run(pace: Pace, times: dict[int, float], steps: int) -> float:
    """Take so many steps; returns the mean milliseconds of one."""
    spent = 0.0
    for _ in range(steps):
        spent += times[pace.threads]
        pace.wrote(1, 256, times[pace.threads] / 1000)
    return spent / steps


def test_a_quiet_machine_keeps_all_threads() -> None:
    """And tries nothing."""
    pace = Pace(2)
    run(pace, QUIET, 500)
    assert (pace.threads, pace.trials) == (2, 0)
    assert pace.slowness == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("times", [ONE_CORE_TAKEN, BOTH_TAKEN])
def test_contention_is_noticed_and_fewer_threads_are_kept(times: dict[int, float]) -> None:
    """Over a while it costs little more than the best fixed number would."""
    pace = Pace(2)
    run(pace, QUIET, 100)
    run(pace, times, 60)
    assert pace.threads == 1
    assert pace.changes == 1
    assert pace.to_dict()["contended"]
    mean = run(pace, times, 2000)
    assert min(times.values()) / mean > 0.85


def test_it_recovers_when_the_machine_is_quiet() -> None:
    """However long the contention was: at the latest after the longest wait."""
    pace = Pace(2)
    run(pace, QUIET, 100)
    run(pace, BOTH_TAKEN, 5000)
    assert pace.threads == 1
    run(pace, QUIET, LONGEST_WAIT + 20)
    assert pace.threads == 2
    run(pace, QUIET, 20)
    assert not pace.to_dict()["contended"]


def test_many_cores_are_given_up_as_far_as_it_helps() -> None:
    """And no further; all are back once they are free."""
    pace = Pace(8)
    run(pace, QUIET_EIGHT, 100)
    run(pace, TWO_OF_EIGHT, 2000)
    assert pace.threads in {4, 5, 6}
    assert min(TWO_OF_EIGHT.values()) / run(pace, TWO_OF_EIGHT, 2000) > 0.85
    run(pace, QUIET_EIGHT, 10 * LONGEST_WAIT)
    assert pace.threads == 8


def test_larger_steps_are_no_contention() -> None:
    """A step for eight takes longer than one for one: each is held against its kind."""
    pace = Pace(2)
    for _ in range(100):
        pace.wrote(1, 256, 0.005)
        pace.wrote(8, 256, 0.030)
    assert pace.trials == 0


def test_fixed_threads_stay() -> None:
    """Whoever sets them knows why."""
    pace = Pace(2, adapt=False)
    run(pace, QUIET, 50)
    run(pace, BOTH_TAKEN, 200)
    assert pace.threads == 2
    assert pace.to_dict()["contended"]


@pytest.mark.parametrize(("write_s", "token_s"), [(0.008, 0.004), (0.02, 0.005), (0.2, 0.005)])
def test_prompts_are_read_in_less_time_than_is_written_beside_them(
    write_s: float, token_s: float
) -> None:
    """In the mean, also where the smallest chunk takes longer than a round; and not much less."""
    pace = Pace(2)
    assert pace.tokens_beside() == SMALLEST_CHUNK, "nothing was measured yet"
    chunks = []
    for _ in range(500):
        pace.wrote_round(write_s)
        tokens = pace.tokens_beside()
        if tokens:
            pace.read(tokens, tokens * token_s)
            chunks.append(tokens)
    spent = sum(chunks) * token_s / (500 * write_s)
    assert 0.7 * SHARE < spent <= SHARE + 0.01
    assert min(chunks) >= SMALLEST_CHUNK


def test_one_slow_read_does_not_keep_others_waiting_for_long() -> None:
    """What was spent too much is owed for a chunk's time at the most."""
    pace = Pace(2)
    pace.wrote_round(0.01)
    pace.read(8, 0.04)
    pace.read(8, 5.0)
    rounds = 0
    while not pace.tokens_beside():
        pace.wrote_round(0.5)
        rounds += 1
    assert rounds < 30


def test_a_longer_conversation_is_no_contention() -> None:
    """Its steps take longer by themselves; and a kind of step that is new says nothing."""
    pace = Pace(2)
    for cells, seconds in ((256, 0.007), (2048, 0.014), (4096, 0.022), (256, 0.007)):
        for _ in range(60):
            pace.wrote(1, cells, seconds)
    assert pace.trials == 0
    assert not pace.to_dict()["contended"]


def test_the_same_times_give_the_same_threads() -> None:
    """It is a function of what was measured."""
    runs: list[Callable[[Pace], float]] = [
        lambda pace: run(pace, QUIET, 200),
        lambda pace: run(pace, ONE_CORE_TAKEN, 300),
        lambda pace: run(pace, QUIET, 300),
    ]
    one, other = Pace(2), Pace(2)
    for each in runs:
        each(one)
        each(other)
    assert one.to_dict() == other.to_dict()


def test_a_machine_that_is_busy_from_the_start_is_begun_on_with_fewer() -> None:
    """A few steps tell; once it is quiet, all threads are back."""
    pace = Pace(2, proven=False)
    assert run(pace, BOTH_TAKEN, 500) < 30
    run(pace, QUIET, LONGEST_WAIT + 20)
    assert pace.threads == 2


def test_a_quiet_machine_is_looked_at_once() -> None:
    """Which costs a few slower steps."""
    pace = Pace(2, proven=False)
    run(pace, QUIET, 500)
    assert (pace.threads, pace.trials) == (2, 1)


def test_many_cores_are_looked_through_as_far_down_as_it_helps() -> None:
    """From the first steps on."""
    pace = Pace(8, proven=False)
    run(pace, TWO_OF_EIGHT, 40)
    assert pace.threads in {4, 5, 6}
    quiet = Pace(8, proven=False)
    run(quiet, QUIET_EIGHT, 200)
    assert (quiet.threads, quiet.trials) == (8, 1)


def test_a_collapse_is_noticed_at_the_second_step() -> None:
    """Each such step takes as long as many."""
    pace = Pace(2)
    run(pace, QUIET, 100)
    run(pace, BOTH_TAKEN, 2)
    assert pace.threads == 1


def test_where_others_need_cores_fewer_threads_begin() -> None:
    """And all are tried after a while."""
    pace = Pace(2, proven=False, begin=1)
    run(pace, BOTH_TAKEN, 20)
    assert (pace.threads, pace.trials) == (1, 0)
    other = Pace(2, proven=False, begin=1)
    run(other, QUIET, FIRST_WAIT + 20)
    assert other.threads == 2


@pytest.mark.parametrize(
    ("text", "others"),
    [("0.5 0.4 0.3 4/200 77\n", 3), ("9.5 9.4 9.3 1/200 77\n", 0), ("", 0), ("a b c d/e", 0)],
)
def test_others_are_those_who_want_a_core_now(tmp_path: Path, text: str, others: int) -> None:
    """The average of the last minute does not count; a system that does not say has none."""
    assert others_running(tmp_path / "none") == 0
    (tmp_path / "loadavg").write_text(text)
    assert others_running(tmp_path / "loadavg") == others


@pytest.mark.anyio
async def test_a_model_computes_with_the_threads_that_its_pace_wants(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the next step on, in llama.cpp itself, and it is told."""
    engine = make_engine()
    await engine.load()
    model, pace = engine._worker.model, engine._worker.pace
    assert model is not None
    assert pace is not None
    pace._most = 2
    for wanted in (1, 2):
        monkeypatch.setattr(Pace, "_judge", functools.partialmethod(_want, wanted))
        await answer(engine, request(max_tokens=4))
        assert model.threads == wanted
        assert engine.stats()["threads"] == wanted


def _want(pace: Pace, threads: int) -> None:
    pace.threads = threads
