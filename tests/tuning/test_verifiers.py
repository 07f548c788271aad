"""A verifier's word is a token and not an answer: replayed as recorded, or refused."""

from __future__ import annotations

import dataclasses
import json
import random
import statistics
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.home import open_scripted
from tests.tuning.test_stage import API_PLAY, RULES
from vanta.errors import ErrorKind, UsageError
from vanta.messages import Completion
from vanta.routing import CalibratedGate, GateModel, VerifierModel
from vanta.scheduling import CASCADE, GateRule, LegPlan, Policy, adapt
from vanta.testing import Say, ScriptedEngine
from vanta_tuning.fitting import JudgedAnswer, auroc, fit_gate
from vanta_tuning.replay.data import Source, load
from vanta_tuning.replay.recordings import Play, Recording, VerifierWord, with_words
from vanta_tuning.replay.shapes import sketches
from vanta_tuning.replay.sketches import KnownWord
from vanta_tuning.replay.stage import Result, Rules, UnrecordedWordError, replay
from vanta_tuning.replay.tables import read_table
from vanta_tuning.replay.traces import read_traces
from vanta_tuning.replay.tuning import TuningLimits, tune

DOUBTFUL = Play(0.25, 1.0, input_tokens=3, output_tokens=4, score=1.0, mean_logprob=-1.0)
YES = VerifierWord(0.9, 0.5, input_tokens=20)
NO = VerifierWord(0.1, 0.5, input_tokens=20)


def cascade(**rule: Any) -> Policy:
    return adapt(CASCADE, name="verified", gate=GateRule(verify_with="api", **rule))


def only(
    word: VerifierWord | None, policy: Policy, *, local: Play = DOUBTFUL, rules: Rules = RULES
) -> Result:
    words = {("api", "local"): word} if word else {}
    plays = {"local": local, "api": API_PLAY}
    (result,) = replay([Recording("a", plays, words=words)], policy, rules)
    return result


def test_a_word_costs_its_own_tokens_and_time_and_not_those_of_an_answer() -> None:
    result = only(YES, cascade())
    assert (result.track, result.asked) == ("local", ("local", "api"))
    assert result.duration_s == 1.0 + 0.5
    assert result.cost_usd == 20 * 1 + 1 * 10


def test_a_word_overrules_the_gate_both_ways() -> None:
    assert only(NO, cascade()).track == "api"
    good = dataclasses.replace(DOUBTFUL, mean_logprob=-0.8)
    assert only(NO, cascade(), local=good).track == "api"
    assert only(YES, cascade(), local=good).track == "local"


def test_the_limit_decides_what_a_word_is_worth() -> None:
    assert only(YES, cascade(verify_limit=0.95)).track == "api"
    assert only(NO, cascade(verify_limit=0.05)).track == "local"


@pytest.mark.parametrize(
    "word", [VerifierWord(None, 0.5), VerifierWord(None, 0.5, error=ErrorKind.OVERLOADED)]
)
def test_no_word_leaves_the_gates_verdict(word: VerifierWord) -> None:
    assert only(word, cascade()).track == "api"
    good = dataclasses.replace(DOUBTFUL, mean_logprob=-0.8)
    result = only(word, cascade(), local=good)
    assert (result.track, result.asked) == ("local", ("local", "api"))


def test_without_a_recorded_word_a_verifier_is_refused_with_the_way_to_record_one() -> None:
    with pytest.raises(UnrecordedWordError) as caught:
        only(None, cascade())
    for part in ("'verified'", "'api'", "turn 'a'", "trace export", "'api.verify_yes'", "--verif"):
        assert part in str(caught.value)
    sure = dataclasses.replace(DOUBTFUL, mean_logprob=-0.1)
    assert only(None, cascade(), local=sure).track == "local", "nothing is verified here"


def test_a_word_on_another_answer_is_not_a_word_on_this_one() -> None:
    plays = {"local": DOUBTFUL, "api": API_PLAY, "third": DOUBTFUL}
    recording = Recording("a", plays, words={("api", "third"): YES})
    with pytest.raises(UnrecordedWordError):
        replay([recording], cascade(), RULES)


def test_a_recorded_probability_is_judged_and_calibrated_again() -> None:
    even = Play(0.25, 1.0, score=1.0, probability=0.55)
    judgement: Any = None
    gate = CalibratedGate(GateModel(judgement, judgement, {}, VerifierModel(1.0, 0.0, 0.0)))
    rules = dataclasses.replace(RULES, gates={"calibrated": gate})
    policy = cascade(use="calibrated", min_probability=0.6)
    assert only(YES, policy, local=even, rules=rules).track == "api", "its word has no weight"
    trusting = CalibratedGate(GateModel(judgement, judgement, {}, VerifierModel(1.0, 1.0, 0.0)))
    rules = dataclasses.replace(RULES, gates={"calibrated": trusting})
    assert only(YES, policy, local=even, rules=rules).track == "local"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


def test_a_table_has_columns_for_the_word(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv",
        "local.ttft_s,local.total_s,local.output_tokens,local.mean_logprob,api.ttft_s,api.total_s,"
        "api.input_tokens,api.verify_yes,api.verify_s,api.verify_input_tokens",
        "0.1,1,30,-1.0,0.5,2,100,0.8,0.25,140",
        "0.1,1,30,-1.0,0.5,2,100,0.2,,",
        "0.1,1,30,-0.1,0.5,2,100,,,",
    )
    first, second, third = sketches(read_table(path))
    assert first.words == {("api", ""): KnownWord(0.8, 0.25, 140)}
    assert second.words == {("api", ""): KnownWord(0.2)}
    assert third.words == {}
    data = load(Source(path))
    assert data.recordings[0].word("api", "local") == VerifierWord(0.8, 0.25, 140)
    assert data.recordings[1].word("api", "local") == VerifierWord(0.2, 0.5, 130)
    assert any(note.startswith("50% of the verifiers' words lack") for note in data.notes)
    tracks = [result.track for result in replay(data.recordings, cascade())]
    assert tracks == ["local", "api", "local"]


@pytest.mark.parametrize("cell", ["1.5", "-0.1", "nan", "maybe"])
def test_a_word_that_is_not_a_probability_is_refused(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "t.csv", "local.ttft_s,api.verify_yes", f"1,{cell}")
    with pytest.raises(UsageError, match=r"line 2: column 'api\.verify_yes'"):
        sketches(read_table(path))


async def _verified_turns(folder: Path) -> list[dict[str, Any]]:
    """Return the records of four turns with doubtful answers and the words yes, no, yes, no."""
    local = ScriptedEngine(scripts=[[Say("perhaps", logprob=-1.0)]] * 4)
    api = ScriptedEngine(
        scripts=[
            [Say("Yes", logprob=-0.1)],
            [Say("No", logprob=-0.1)],
            ["the api's own answer, which is longer"],
            [Say("Yes", logprob=-0.2)],
            [Say("No", logprob=-0.2)],
            ["the api's own answer, which is longer"],
        ]
    )
    config = {"policies": {"cascade": {"gate": {"verify_with": "api"}}}}
    async with open_scripted(folder, local=local, api=api, config=config) as runtime:
        session = runtime.session("a")
        for _ in range(4):
            await session.ask("?", policy="cascade")
        return await runtime.store.records(session="a")


@pytest.mark.anyio
async def test_the_trace_of_a_real_turn_carries_the_word(tmp_path: Path) -> None:
    rows = await _verified_turns(tmp_path)
    path = write(tmp_path / "turns.jsonl", *map(json.dumps, rows))
    served = [row["track"] for row in rows]
    assert sorted(served) == ["api", "api", "local", "local"]
    for row, sketch in zip(rows, read_traces(path), strict=True):
        word = sketch.words["api", "local"]
        assert word.yes == (1.0 if row["track"] == "local" else 0.0)
        assert sketch.tracks["local"].mean_logprob == -1.0, "the gate's own score stays"
        assert word.total_s is not None

    def again() -> list[str | None]:
        recordings = load(Source(path)).recordings
        return [result.track for result in replay(recordings, cascade())]

    assert await anyio.to_thread.run_sync(again) == served


def leg(number: int, track: str, state: str, **values: Any) -> dict[str, Any]:
    empty = ("first_content_s", "stop_asked_s", "usage", "error", "score", "accepted", "verdict")
    times = {"started_s": 0.0, "ended_s": 1.0, "why": "the start"}
    return {
        "leg": number,
        "track": track,
        "state": state,
        **dict.fromkeys(empty),
        **times,
        **values,
    }


def traced(path: Path, *legs: dict[str, Any]) -> Path:
    return write(path, json.dumps({"trace": {"turn_id": "t", "legs": legs}}))


def test_traces_from_before_the_word_was_recorded_are_understood(tmp_path: Path) -> None:
    verdict = "api finds it right with probability 0.00"
    judged = leg(0, "local", "rejected", score=0.0, accepted=False, verdict=verdict)
    word = leg(1, "api", "verified", why="verifies leg 0", started_s=1.0, ended_s=1.5)
    (sketch,) = read_traces(traced(tmp_path / "t.jsonl", judged, word))
    assert sketch.words["api", "local"] == KnownWord(0.0, 0.5)
    assert sketch.tracks["local"].mean_logprob is None, "0.0 is a probability, not a logprob"


def test_a_verifier_that_failed_or_was_stopped_is_recorded_as_such(tmp_path: Path) -> None:
    judged = leg(0, "local", "won", score=-1.0, accepted=True, verdict="good enough")
    failed = leg(1, "api", "verified", why="verifies leg 0", error={"kind": "overloaded"})
    (sketch,) = read_traces(traced(tmp_path / "a.jsonl", judged, failed))
    assert sketch.words["api", "local"].error is ErrorKind.OVERLOADED
    stopped = leg(1, "api", "verified", why="verifies leg 0", stop_asked_s=0.5)
    (sketch,) = read_traces(traced(tmp_path / "b.jsonl", judged, stopped))
    assert sketch.words == {}


def scored(turns: int) -> list[Recording]:
    return [
        Recording(
            str(number),
            {
                "local": dataclasses.replace(DOUBTFUL, score=float(number % 3 != 0)),
                "api": API_PLAY,
            },
        )
        for number in range(turns)
    ]


def test_modelled_words_part_right_from_wrong_as_well_as_asked() -> None:
    recordings = with_words(scored(3000), 0.8, seed=2)
    words = [(item.word("api", "local"), item.plays["local"].score) for item in recordings]
    chances = [word.yes for word, _ in words if word and word.yes is not None]
    assert auroc(chances, [score == 1 for _, score in words]) == pytest.approx(0.8, abs=0.02)
    with pytest.raises(UsageError, match="AUROC must be between"):
        with_words(recordings, 0.4)


def test_a_recorded_word_is_not_modelled_over() -> None:
    recorded = Recording("a", {"local": DOUBTFUL, "api": API_PLAY}, words={("api", ""): NO})
    (item,) = with_words([recorded], 0.99)
    assert item.word("api", "local") == NO


def test_good_answers_are_verified_too_as_often_as_the_share_says() -> None:
    good = [
        dataclasses.replace(
            item,
            plays={
                **item.plays,
                "local": dataclasses.replace(
                    item.plays["local"], mean_logprob=-0.1 - (int(item.id) * 37 % 100) / 500
                ),
            },
        )
        for item in with_words(scored(1000), 0.9)
    ]
    for share in (0.1, 0.3):
        results = replay(good, cascade(verify_share=share), RULES)
        verified = sum("api" in result.asked for result in results) / len(results)
        assert verified == pytest.approx(share, abs=0.03)
    alone = replay(good, cascade(verify_share=None), RULES)
    assert not any("api" in result.asked for result in alone), "the margin alone reaches none"


def test_a_verifier_lifts_the_accuracy_of_a_cascade_for_less_than_the_apis_price() -> None:
    recordings = with_words(scored(600), 0.95)
    rule = {"min_mean_logprob": -3.0, "verify_share": 1.0}
    plain = replay(
        recordings, adapt(CASCADE, name="c", gate=GateRule(min_mean_logprob=-3.0)), RULES
    )
    checked = replay(recordings, cascade(**rule), RULES)
    assert _accuracy(plain) == pytest.approx(2 / 3, abs=0.01)
    assert _accuracy(checked) > 0.9
    whole = 7 * 1 + 8 * 10
    assert statistics.fmean(result.cost_usd for result in checked) < whole


def _accuracy(results: list[Result]) -> float:
    return statistics.fmean(result.score or 0.0 for result in results)


def test_tuning_leaves_out_what_it_cannot_replay_and_refuses_if_nothing_is_left() -> None:
    sure = [
        dataclasses.replace(
            item,
            plays={**item.plays, "local": dataclasses.replace(DOUBTFUL, mean_logprob=-0.1)},
        )
        for item in scored(40)
    ]
    tuned = tune(sure, [cascade(verify_share=None)], TuningLimits(), RULES)
    assert tuned.left_out > 0
    assert tuned.nearest.chosen_by.turns == 20
    with pytest.raises(UnrecordedWordError):
        tune(scored(40), [cascade(verify_share=1.0, verify_margin=9)], TuningLimits(), RULES)


def test_two_judged_tracks_need_words_that_name_none() -> None:
    legs = tuple(LegPlan(track, commit_on="verdict") for track in ("local", "api"))
    policy = Policy("two", "", legs, gate=GateRule(verify_with="api"))
    plays = {"local": DOUBTFUL, "api": dataclasses.replace(API_PLAY, mean_logprob=-0.1)}
    with pytest.raises(UnrecordedWordError):
        replay([Recording("a", plays, words={("api", "local"): YES})], policy, RULES)


def worded(count: int, noise: float) -> list[JudgedAnswer]:
    """Return answers without logprobs whose verifier is overconfident: only yes or no."""
    draw = random.Random(count)  # noqa: S311 - a seed, no secret
    made = []
    for _ in range(count):
        right = draw.random() < 0.7
        says_yes = right if draw.random() > noise else not right
        made.append(JudgedAnswer(Completion(text="Four."), right, 0.999 if says_yes else 0.001))
    return made


def test_an_overconfident_word_is_calibrated_and_a_useless_one_ignored() -> None:
    fitted = fit_gate(worded(600, noise=0.2)).verifier
    assert fitted is not None
    assert fitted.auroc > 0.75
    assert fitted.auroc_of_gate < 0.6
    after_yes = fitted.model.probability(0.7, 0.999)
    assert after_yes == pytest.approx(0.7 * 0.8 / (0.7 * 0.8 + 0.3 * 0.2), abs=0.05)
    useless = fit_gate(worded(600, noise=0.5)).verifier
    assert useless is not None
    assert useless.model.probability(0.7, 0.999) == pytest.approx(0.7, abs=0.07)
    assert fitted.reliability.ece < 0.05
