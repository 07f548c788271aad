"""vanta's own traces replay as they were; what a policy did not let happen is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta.errors import ErrorKind, UsageError
from vanta.scheduling import LOCAL, RACE
from vanta.testing import Hang, Pause, ScriptedEngine
from vanta_tuning.replay.data import Source, load
from vanta_tuning.replay.recordings import Play
from vanta_tuning.replay.stage import replay
from vanta_tuning.replay.traces import pools_of, read_traces


def leg(number: int, track: str, state: str, **values: Any) -> dict[str, Any]:
    empty = ("first_content_s", "committed_s", "stop_asked_s", "ended_s", "usage", "error")
    return {
        "leg": number,
        "track": track,
        "state": state,
        "started_s": 0.0,
        "verdict": None,
        **dict.fromkeys(empty),
        **values,
    }


def write(path: Path, *turns: list[dict[str, Any]]) -> Path:
    lines = [
        json.dumps({"trace": {"turn_id": f"t{number}", "legs": legs}})
        for number, legs in enumerate(turns)
    ]
    path.write_text("\n".join(lines))
    return path


USAGE = {"input_tokens": 3, "output_tokens": 4}
WON = leg(0, "local", "won", first_content_s=0.5, ended_s=2.0, usage=USAGE)


def test_a_whole_answer_is_a_play_from_the_start_of_its_leg(tmp_path: Path) -> None:
    late = leg(0, "api", "won", started_s=1.0, first_content_s=1.5, ended_s=3.0, usage=USAGE)
    (sketch,) = read_traces(write(tmp_path / "t.jsonl", [late]))
    known = sketch.tracks["api"]
    assert (known.ttft_s, known.total_s, known.output_tokens) == (0.5, 2.0, 4)


def test_a_stopped_leg_says_only_how_long_it_had_taken(tmp_path: Path) -> None:
    silent = leg(1, "api", "cancelled", started_s=0.25, stop_asked_s=1.0, ended_s=1.1)
    speaking = leg(1, "api", "cancelled", first_content_s=0.5, stop_asked_s=1.0, ended_s=1.1)
    first, second = read_traces(write(tmp_path / "t.jsonl", [WON, silent], [WON, speaking]))
    assert (first.tracks["api"].silent_s, first.tracks["api"].whole) == (0.75, False)
    assert (second.tracks["api"].ttft_s, second.tracks["api"].running_s) == (0.5, 1.0)
    assert not second.tracks["api"].whole


def test_a_failed_leg_fails_again(tmp_path: Path) -> None:
    failed = leg(0, "api", "failed", ended_s=0.5, error={"kind": "rate_limited"})
    broken = leg(0, "api", "broken", first_content_s=0.5, ended_s=1.0, error={"kind": "network"})
    goes_on = leg(1, "local", "won", started_s=1.0, first_content_s=1.5, ended_s=2.0)
    path = write(tmp_path / "t.jsonl", [WON, {**failed, "leg": 1}], [broken, goes_on])
    first, second = read_traces(path)
    assert first.tracks["api"].error is ErrorKind.RATE_LIMITED
    assert not first.tracks["api"].speaks
    assert second.tracks["api"].speaks
    assert "local" not in second.tracks, "what goes on from another's text is no whole answer"
    assert set(pools_of([first, second])) == {"local"}


def test_a_gate_repeats_its_verdict(tmp_path: Path) -> None:
    rejected = leg(
        0, "local", "rejected", first_content_s=0.5, ended_s=1.0, accepted=False, score=-2.0
    )
    (sketch,) = read_traces(write(tmp_path / "t.jsonl", [rejected]))
    assert sketch.tracks["local"].accepted is False
    assert sketch.tracks["local"].mean_logprob == -2.0


def test_a_track_that_was_not_asked_is_drawn_from_its_other_answers(tmp_path: Path) -> None:
    other = leg(0, "api", "won", first_content_s=0.25, ended_s=1.0, usage=USAGE)
    path = write(tmp_path / "t.jsonl", [WON], [other])
    data = load(Source(path))
    assert data.recordings[0].plays["api"] == Play(0.25, 1.0, 3, 4)
    assert data.notes[0].startswith("50% of the answers' times were not recorded")
    assert [result.track for result in replay(data.recordings, RACE)] == ["api", "api"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "line 1: not a trace of vanta"),
        ('{"trace": {"turn_id": "t"}}', "line 1: not a trace of vanta .KeyError: 'legs'"),
        ('{"legs": [{"leg": 0}], "turn_id": "t"}', "line 1: not a trace of vanta"),
        ("[]", "line 1: not a trace of vanta"),
        ("\n\n", "has no trace in it. `vanta trace export` writes some"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_traces(path)


async def _race_twice(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Two races, in each of which one track never answers; then each track alone."""
    local = ScriptedEngine(scripts=[[Pause(0.01), "quick"], [Hang()], [Pause(0.1), "slow"]])
    api = ScriptedEngine(scripts=[[Hang()], [Pause(0.03), "quick"], [Pause(0.1), "slow"]])
    async with open_scripted(folder, local=local, api=api) as runtime:
        session = runtime.session("a")
        served = [(await session.ask("?", policy="race")).track for _ in range(2)]
        served += [(await session.ask("?", track=name)).track for name in ("local", "api")]
        return served, await runtime.store.records(session="a")


@pytest.mark.anyio
async def test_a_replayed_trace_of_a_real_run_has_the_same_winners(tmp_path: Path) -> None:
    served, rows = await _race_twice(tmp_path)
    path = tmp_path / "traces.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))

    def again() -> list[str | None]:
        recordings = load(Source(path)).recordings
        return [result.track for result in replay(recordings, RACE)]

    replayed = await anyio.to_thread.run_sync(again)
    assert served[:2] == ["local", "api"]
    assert replayed[:2] == served[:2]


def test_the_policies_of_another_day_can_be_tried_on_todays_traces(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [WON], [WON])
    results = replay(load(Source(path)).recordings, LOCAL)
    assert [(result.first_content_s, result.duration_s) for result in results] == [(0.5, 2.0)] * 2
