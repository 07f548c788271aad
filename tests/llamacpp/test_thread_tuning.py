"""Test the number of threads, decided from recorded and modelled step times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.llamacpp.support import MakeEngine, answer, request
from vanta_llamacpp.model.native import others_running
from vanta_llamacpp.worker import worker
from vanta_llamacpp.worker.thread_tuning import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MIN_CHUNK,
    PREFILL_SHARE,
    ThreadTuner,
)

# Milliseconds of a step by threads, as measured on two cores.
QUIET = {1: 10.4, 2: 5.0}
ONE_CORE_TAKEN = {1: 10.6, 2: 17.0}
BOTH_TAKEN = {1: 21.0, 2: 270.0}
TWO_OF_EIGHT = {8: 40.0, 7: 30.0, 6: 9.0, 5: 10.0, 4: 11.0, 3: 14.0, 2: 20.0, 1: 40.0}
QUIET_EIGHT = {threads: 40.0 / threads for threads in range(1, 9)}


def run(tuner: ThreadTuner, times: dict[int, float], steps: int) -> float:
    """Run so many steps; return the mean milliseconds of a step."""
    spent = 0.0
    for _ in range(steps):
        spent += times[tuner.threads]
        tuner.record_decode(1, 256, times[tuner.threads] / 1000)
    return spent / steps


def test_a_quiet_machine_keeps_all_threads() -> None:
    tuner = ThreadTuner(2)
    run(tuner, QUIET, 500)
    assert (tuner.threads, tuner.trials) == (2, 0)
    assert tuner.slowness == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("times", [ONE_CORE_TAKEN, BOTH_TAKEN])
def test_contention_is_noticed_and_fewer_threads_are_kept(times: dict[int, float]) -> None:
    """In the long run steps take little longer than with the best fixed number."""
    tuner = ThreadTuner(2)
    run(tuner, QUIET, 100)
    run(tuner, times, 60)
    assert tuner.threads == 1
    assert tuner.changes == 1
    assert tuner.to_dict()["contended"]
    mean = run(tuner, times, 2000)
    assert min(times.values()) / mean > 0.85


def test_all_threads_are_back_when_the_machine_is_quiet() -> None:
    """At the latest after the longest wait, however long the contention was."""
    tuner = ThreadTuner(2)
    run(tuner, QUIET, 100)
    run(tuner, BOTH_TAKEN, 5000)
    assert tuner.threads == 1
    run(tuner, QUIET, LONGEST_WAIT + 20)
    assert tuner.threads == 2
    run(tuner, QUIET, 20)
    assert not tuner.to_dict()["contended"]


def test_threads_are_reduced_as_far_as_it_helps() -> None:
    """All are back once the cores are free."""
    tuner = ThreadTuner(8)
    run(tuner, QUIET_EIGHT, 100)
    run(tuner, TWO_OF_EIGHT, 2000)
    assert tuner.threads in {4, 5, 6}
    assert min(TWO_OF_EIGHT.values()) / run(tuner, TWO_OF_EIGHT, 2000) > 0.85
    run(tuner, QUIET_EIGHT, 10 * LONGEST_WAIT)
    assert tuner.threads == 8


def test_larger_steps_do_not_count_as_contention() -> None:
    """A step of eight rows takes longer than one of one row: each is compared with its kind."""
    tuner = ThreadTuner(2)
    for _ in range(100):
        tuner.record_decode(1, 256, 0.005)
        tuner.record_decode(8, 256, 0.030)
    assert tuner.trials == 0


def test_configured_threads_never_change() -> None:
    tuner = ThreadTuner(2, adapt=False)
    run(tuner, QUIET, 50)
    run(tuner, BOTH_TAKEN, 200)
    assert tuner.threads == 2
    assert tuner.to_dict()["contended"]


@pytest.mark.parametrize(("write_s", "token_s"), [(0.008, 0.004), (0.02, 0.005), (0.2, 0.005)])
def test_prefill_takes_its_share_of_the_decode_time(write_s: float, token_s: float) -> None:
    """In the mean, even if the smallest chunk takes longer than a round."""
    tuner = ThreadTuner(2)
    assert tuner.prefill_budget() == MIN_CHUNK, "before any measurement"
    chunks = []
    for _ in range(500):
        tuner.record_round(write_s)
        tokens = tuner.prefill_budget()
        if tokens:
            tuner.record_prefill(tokens, tokens * token_s)
            chunks.append(tokens)
    spent = sum(chunks) * token_s / (500 * write_s)
    assert 0.7 * PREFILL_SHARE < spent <= PREFILL_SHARE + 0.01
    assert min(chunks) >= MIN_CHUNK


def test_one_slow_prefill_does_not_delay_others_for_long() -> None:
    """The debt is limited to the time of one chunk."""
    tuner = ThreadTuner(2)
    tuner.record_round(0.01)
    tuner.record_prefill(8, 0.04)
    tuner.record_prefill(8, 5.0)
    rounds = 0
    while not tuner.prefill_budget():
        tuner.record_round(0.5)
        rounds += 1
    assert rounds < 30


def test_a_longer_conversation_does_not_count_as_contention() -> None:
    """Its steps take longer by themselves. The first step of a kind decides nothing."""
    tuner = ThreadTuner(2)
    for cells, seconds in ((256, 0.007), (2048, 0.014), (4096, 0.022), (256, 0.007)):
        for _ in range(60):
            tuner.record_decode(1, cells, seconds)
    assert tuner.trials == 0
    assert not tuner.to_dict()["contended"]


def test_the_same_times_give_the_same_threads() -> None:
    runs: list[Callable[[ThreadTuner], float]] = [
        lambda tuner: run(tuner, QUIET, 200),
        lambda tuner: run(tuner, ONE_CORE_TAKEN, 300),
        lambda tuner: run(tuner, QUIET, 300),
    ]
    first, second = ThreadTuner(2), ThreadTuner(2)
    for play in runs:
        play(first)
        play(second)
    assert first.to_dict() == second.to_dict()


def test_a_machine_that_is_busy_from_the_start_gets_fewer_threads() -> None:
    """After a few steps; once it is quiet, all threads are back."""
    tuner = ThreadTuner(2, proven=False)
    assert run(tuner, BOTH_TAKEN, 500) < 30
    run(tuner, QUIET, LONGEST_WAIT + 20)
    assert tuner.threads == 2


def test_a_quiet_machine_has_a_single_trial() -> None:
    """It costs a few slower steps."""
    tuner = ThreadTuner(2, proven=False)
    run(tuner, QUIET, 500)
    assert (tuner.threads, tuner.trials) == (2, 1)


def test_first_trials_reduce_threads_as_far_as_it_helps() -> None:
    tuner = ThreadTuner(8, proven=False)
    run(tuner, TWO_OF_EIGHT, 40)
    assert tuner.threads in {4, 5, 6}
    quiet = ThreadTuner(8, proven=False)
    run(quiet, QUIET_EIGHT, 200)
    assert (quiet.threads, quiet.trials) == (8, 1)


def test_a_collapse_is_noticed_at_the_second_step() -> None:
    """Each such step takes as long as many."""
    tuner = ThreadTuner(2)
    run(tuner, QUIET, 100)
    run(tuner, BOTH_TAKEN, 2)
    assert tuner.threads == 1


def test_more_threads_are_tried_after_a_start_with_fewer() -> None:
    tuner = ThreadTuner(2, proven=False, initial=1)
    run(tuner, BOTH_TAKEN, 20)
    assert (tuner.threads, tuner.trials) == (1, 0)
    other = ThreadTuner(2, proven=False, initial=1)
    run(other, QUIET, FIRST_WAIT + 20)
    assert other.threads == 2


@pytest.mark.parametrize(
    ("text", "others"),
    [("0.5 0.4 0.3 4/200 77\n", 3), ("9.5 9.4 9.3 1/200 77\n", 0), ("", 0), ("a b c d/e", 0)],
)
def test_runnable_processes_count_as_others(tmp_path: Path, text: str, others: int) -> None:
    """The average of the last minute does not count; an unreadable file counts as none."""
    assert others_running(tmp_path / "none") == 0
    (tmp_path / "loadavg").write_text(text)
    assert others_running(tmp_path / "loadavg") == others


class ScriptedTuner(ThreadTuner):
    """A tuner whose decision is set by the test."""

    decision = 1

    def record_decode(self, rows: int, cells: int, seconds: float) -> None:
        super().record_decode(rows, cells, seconds)
        self.threads = self.decision


@pytest.mark.anyio
async def test_llama_cpp_computes_with_the_tuned_threads(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the next step on; the statistics report them."""
    monkeypatch.setattr(worker, "ThreadTuner", ScriptedTuner)
    engine = make_engine()
    await engine.load()
    model = engine.loaded_model
    assert model is not None
    for decision in (1, 2):
        monkeypatch.setattr(ScriptedTuner, "decision", decision)
        await answer(engine, request(max_tokens=4))
        assert model.threads == decision
        assert engine.stats()["threads"] == decision
