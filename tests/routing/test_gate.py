"""The calibrated gate: its threshold is a probability."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import worlds
from vanta.config import GateConfig
from vanta.errors import UsageError
from vanta.messages import Completion, ToolCall
from vanta.routing import CalibratedGate, GateModel, VerifierModel, logit, signals
from vanta.scheduling import GateRule, Verdict
from vanta_tuning.fitting import FittedGate, JudgedAnswer, auroc, fit_gate

pytestmark = pytest.mark.anyio

RULE = GateRule(use="calibrated", min_probability=0.7, verify_share=None, verify_margin=0.0)
LOGPROBS = st.lists(st.floats(-30, 0), min_size=1, max_size=40)


def probability(gate: FittedGate, tokens: list[float], text: str = "The answer.") -> float:
    result = CalibratedGate(gate.model).probability(signals(worlds.answer(tokens, text)))
    assert result is not None
    return result


def test_signals_are_what_the_tokens_say() -> None:
    values = signals(worlds.answer([-4.0, -1.0, -2.0, -3.0, 0.0], " I can't help with that. "))
    assert (values.mean, values.middle, values.least, values.tokens) == (-2.0, -2.0, -4.0, 5)
    assert values.low == pytest.approx(-3.6)
    assert (values.refusal, values.cut_off, values.chars) == (True, False, 23)
    nothing = signals(Completion(text="Four.", finish_reason="length"))
    assert (nothing.mean, nothing.least, nothing.tokens, nothing.cut_off) == (None, None, 0, True)


@given(st.lists(st.floats(max_value=0) | st.just(math.nan), min_size=1, max_size=20))
def test_signals_are_finite_whatever_an_engine_reports(tokens: list[float]) -> None:
    values = signals(worlds.answer(tokens))
    for value in (values.mean, values.low, values.middle, values.least):
        assert value is not None
        assert -20 <= value <= 0


def test_its_probabilities_come_true_on_answers_that_it_has_not_seen(gate: FittedGate) -> None:
    fresh = worlds.answers(2000, seed=77)
    error = 0.0
    for item in fresh:
        tokens = [token.logprob for token in item.answer.logprobs]
        error += abs(probability(gate, tokens) - worlds.truth(math.fsum(tokens) / 30))
    assert error / len(fresh) < 0.05
    assert gate.reliability.ece < 0.05
    assert gate.curve == "isotonic"


def test_a_threshold_of_seventy_percent_means_seventy_percent(gate: FittedGate) -> None:
    near = [
        item
        for item in worlds.answers(6000, seed=5)
        if abs(probability(gate, [t.logprob for t in item.answer.logprobs]) - 0.7) < 0.08
    ]
    assert len(near) > 100
    assert sum(item.right for item in near) / len(near) == pytest.approx(0.7, abs=0.1)


def test_few_outcomes_get_platts_curve() -> None:
    small = fit_gate(worlds.answers(200))
    assert small.curve == "Platt"
    assert small.reliability.ece < 0.12


@given(LOGPROBS, st.floats(0, 5))
def test_likelier_tokens_never_make_an_answer_look_worse(
    gate: FittedGate, tokens: list[float], lift: float
) -> None:
    lifted = [min(0.0, value + lift) for value in tokens]
    assert probability(gate, lifted) >= probability(gate, tokens) - 1e-9
    judge = CalibratedGate(gate.model)
    before, after = (judge.doubt(signals(worlds.answer(logprobs))) for logprobs in (tokens, lifted))
    assert before is not None
    assert after is not None
    assert after <= before + 1e-9


def test_a_refusal_never_looks_better_than_an_answer(gate: FittedGate) -> None:
    tokens = [-0.3] * 20
    refusal = "I'm sorry, I can't help with that."
    plain = "x" * len(refusal)
    assert probability(gate, tokens, refusal) <= probability(gate, tokens, plain)


async def test_it_accepts_above_the_wanted_probability_and_turns_down_below(
    gate: FittedGate,
) -> None:
    judge = CalibratedGate(gate.model)
    good = await judge.judge(worlds.answer([-0.05] * 30), RULE)
    bad = await judge.judge(worlds.answer([-2.0] * 30), RULE)
    assert good.accepted
    assert not bad.accepted
    assert good.score is not None
    assert bad.score is not None
    assert good.score > 0.7 > bad.score
    assert "70% needed" in bad.why


async def test_the_wanted_probability_changes_the_verdict(gate: FittedGate) -> None:
    judge, answer = CalibratedGate(gate.model), worlds.answer([-0.7] * 30)
    lax = await judge.judge(answer, GateRule(min_probability=0.1))
    strict = await judge.judge(answer, GateRule(min_probability=0.95))
    assert (lax.accepted, strict.accepted) == (True, False)


async def test_the_margin_is_the_distance_from_the_limit_in_log_odds(gate: FittedGate) -> None:
    judge, answer = CalibratedGate(gate.model), worlds.answer([-0.7] * 30)
    score = (await judge.judge(answer, RULE)).score
    assert score is not None
    here = await judge.judge(answer, GateRule(min_probability=score))
    assert here.margin == pytest.approx(0.0)
    far = await judge.judge(answer, GateRule(min_probability=score / 10))
    assert far.margin == pytest.approx(logit(score) - logit(score / 10))
    refused = await judge.judge(worlds.answer([-0.1] * 30, "I'm sorry, I cannot help."), RULE)
    assert refused.margin is None, "no verifier overrules what is no matter of score"


async def test_tools_shortness_and_refusals_are_judged_by_the_rule(gate: FittedGate) -> None:
    judge = CalibratedGate(gate.model)
    tool = Completion(tool_calls=(ToolCall("1", "clock", "{}"),))
    assert (await judge.judge(tool, RULE)).accepted
    short = await judge.judge(worlds.answer([-0.01] * 30, "Four"), GateRule(min_chars=9))
    assert (short.accepted, short.why) == (False, "4 characters, at least 9 needed")
    refusal = worlds.answer([-0.01] * 30, "I cannot help with that, I fear.")
    for minded in (True, False):
        rule = GateRule(min_probability=0.01, refusals=minded)
        assert (await judge.judge(refusal, rule)).accepted is not minded


async def test_without_a_model_it_judges_by_signals_and_says_so() -> None:
    judge = CalibratedGate()
    assert not judge.fitted
    verdict = await judge.judge(worlds.answer([-5.0] * 30), GateRule())
    assert not verdict.accepted
    assert "not fitted: `vanta gate fit`" in verdict.why
    assert judge.doubt(signals(worlds.answer([-1.0]))) is None
    assert judge.give_up(worlds.answer([-5.0] * 30), GateRule()) is not None


def test_a_bad_beginning_is_given_up_and_a_good_one_is_not(gate: FittedGate) -> None:
    judge = CalibratedGate(gate.model)
    why = judge.give_up(worlds.answer([-3.0] * 20), RULE)
    assert why is not None
    assert "after 20 tokens" in why
    assert judge.give_up(worlds.answer([-0.1] * 20), RULE) is None
    assert judge.give_up(worlds.answer([-3.0] * 5), RULE) is None


def test_doubt_about_beginnings_comes_true(gate: FittedGate) -> None:
    judge, fresh = CalibratedGate(gate.model), worlds.answers(1500, seed=21)
    doubts, wrong = 0.0, 0
    for item in fresh:
        begun = worlds.answer([token.logprob for token in item.answer.logprobs][:15])
        doubts += judge.doubt(signals(begun)) or 0.0
        wrong += not item.right
    assert doubts / len(fresh) == pytest.approx(wrong / len(fresh), abs=0.05)


def test_answers_without_logprobs_are_judged_by_the_rest() -> None:
    mixed = [
        JudgedAnswer(Completion(text="Yes, four." if right else "I'm sorry, I cannot help."), right)
        for right in (True, False) * 100
    ]
    judge = CalibratedGate(fit_gate(mixed).model)
    high, low = (judge.probability(signals(item.answer)) for item in mixed[:2])
    assert high is not None
    assert low is not None
    assert high > 0.8
    assert low < 0.2


def test_a_saved_gate_says_the_same_and_the_same_answers_the_same_file(
    gate: FittedGate, tmp_path: Path
) -> None:
    path, again = tmp_path / "gate.json", tmp_path / "again.json"
    gate.model.save(path)
    fit_gate(worlds.answers(1200)).model.save(again)
    assert path.read_bytes() == again.read_bytes()
    tokens = [-0.4, -0.9, -0.1] * 10
    loaded = CalibratedGate(path).probability(signals(worlds.answer(tokens)))
    assert loaded == pytest.approx(probability(gate, tokens))
    fit_gate(worlds.answers(200)).model.save(path)
    assert CalibratedGate(path).fitted


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"vanta": "router"}, "is not a model file of the gate"),
        ({"version": 0}, "version 0"),
        ({"whole": None}, "does not judge by"),
        ({"about": 1}, "has no 'about'"),
        ({"part": {"signals": []}}, "does not judge by"),
    ],
)
def test_a_broken_file_is_refused(
    gate: FittedGate, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    path = tmp_path / "gate.json"
    gate.model.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=f"{why}.*`vanta gate fit`"):
        GateModel.load(path)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("weights", [-1.0] * 8, "wrong sign"),
        ("weights", [0.0], "does not have 8"),
        ("spreads", [0.0] * 8, "not between"),
        ("intercept", "x", "is not a number"),
        ("curve", None, "has no 'curve'"),
        ("curve", {"scores": [0, 1], "probabilities": [0.9, 0.1]}, "curve falls"),
        ("curve", {"scores": [0], "probabilities": []}, "as many probabilities"),
    ],
)
def test_broken_numbers_are_refused(
    gate: FittedGate, tmp_path: Path, key: str, value: object, why: str
) -> None:
    path = tmp_path / "gate.json"
    gate.model.save(path)
    data = json.loads(path.read_text())
    data["whole"][key] = value
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=f"gate\\.json.*{why}"):
        GateModel.load(path)


def test_too_few_answers_are_refused() -> None:
    right = [JudgedAnswer(Completion(text="x"), True)]
    with pytest.raises(UsageError, match="200 of them right"):
        fit_gate(right * 200)
    with pytest.raises(UsageError, match="at least 40"):
        fit_gate(worlds.answers(10))


def test_auroc_counts_pairs_and_ties() -> None:
    assert auroc([0.1, 0.2, 0.3, 0.4], [False, True, False, True]) == 0.75
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    assert auroc([0.5], [True]) == 0.5


def words(count: int, seed: int = 0) -> list[JudgedAnswer]:
    """The answers of a world, with a verifier that is mostly right and always too certain."""
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    return [
        dataclasses.replace(
            item, yes=0.5 + (0.49 if item.right == (chance.random() < 0.8) else -0.49)
        )
        for item in worlds.answers(count, seed)
    ]


def test_a_verifiers_word_is_calibrated_and_its_limits_keep_their_shares() -> None:
    fitted = fit_gate(words(1500))
    assert fitted.verifier is not None
    assert fitted.verifier.auroc > fitted.verifier.auroc_of_gate + 0.02
    assert fitted.verifier.reliability.ece < 0.05
    judge, fresh = CalibratedGate(fitted.model), words(3000, seed=9)
    chances = []
    for item in fresh:
        right = judge.probability(signals(item.answer))
        after = judge.verified(Verdict(True, right, ""), item.yes or 0.0)
        assert after is not None
        chances.append(after)
    for chosen, share in zip(fitted.verifier.limits, (0.05, 0.1, 0.2, 0.3, 0.5), strict=True):
        escalated = sum(chance < chosen.limit for chance in chances) / len(chances)
        assert chosen.escalated == pytest.approx(share, abs=0.01)
        assert escalated == pytest.approx(share, abs=0.04)
        served = [
            row.right for row, chance in zip(fresh, chances, strict=True) if chance >= chosen.limit
        ]
        assert sum(served) / len(served) == pytest.approx(chosen.right, abs=0.04)


def test_without_words_there_is_no_verifiers_model(gate: FittedGate) -> None:
    assert gate.verifier is None
    assert CalibratedGate(gate.model).verified(Verdict(True, 0.5, ""), 0.9) is None
    few = [*words(30), *worlds.answers(200)]
    assert fit_gate(few).verifier is None, "30 words are too few"


async def test_a_fitted_verifier_is_held_to_the_gates_own_limit() -> None:
    model = fit_gate(words(400)).model
    judge = CalibratedGate(model)
    verdict = await judge.judge(worlds.answer([-0.7] * 30), RULE)
    high, low = judge.verified(verdict, 0.99), judge.verified(verdict, 0.01)
    assert high is not None
    assert low is not None
    assert high > (verdict.score or 0.0) > low


def test_a_verifiers_model_is_saved_and_a_broken_one_refused(tmp_path: Path) -> None:
    path, fitted = tmp_path / "gate.json", fit_gate(words(400))
    fitted.model.save(path)
    verifier = GateModel.load(path).verifier
    assert isinstance(verifier, VerifierModel)
    assert verifier.probability(0.6, 0.9) == pytest.approx(
        fitted.verifier.model.probability(0.6, 0.9) if fitted.verifier else None
    )
    data = json.loads(path.read_text())
    for value in (3, {"gate": -1, "yes": 1, "intercept": 0}, {"gate": 1}):
        path.write_text(json.dumps({**data, "verifier": value}))
        with pytest.raises(UsageError, match="broken model file"):
            GateModel.load(path)


async def test_it_is_a_gate_for_any_number_of_turns_at_once(gate: FittedGate) -> None:
    judge, verdicts = CalibratedGate(gate.model), list[Verdict]()

    async def ask() -> None:
        verdicts.append(await judge.judge(worlds.answer([-0.3] * 30), RULE))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert len(set(verdicts)) == 1


async def test_the_configuration_says_what_probability_is_wanted(gate: FittedGate) -> None:
    judge, answer = CalibratedGate(gate.model), worlds.answer([-0.7] * 30)
    lax = GateConfig(min_probability=0.1).to_rule(RULE)
    strict = GateConfig(min_probability=0.95).to_rule(RULE)
    accepted = [(await judge.judge(answer, rule)).accepted for rule in (lax, strict)]
    assert accepted == [True, False]
