"""Gates: early exit, verifiers, and the format of an answer."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import ErrorKind
from vanta.messages import Completion, TokenLogprob
from vanta.scheduling.answer_checks import in_another_script, not_under_schema, probability_of_yes
from vanta.scheduling.policy import CASCADE, GateRule, Policy, adapt
from vanta.scheduling.track_stats import TrackStats
from vanta.testing import Fail, Hang, Say, ScriptedEngine
from vanta.track import Price


def cascade(**rule: object) -> Policy:
    return dataclasses.replace(CASCADE, gate=GateRule(**rule))  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_refusal_is_stopped_before_it_is_finished() -> None:
    refusal = (
        "I'm sorry, but I cannot help with that at all today because of many good reasons " * 3
    )
    local = ScriptedEngine(refusal, Hang())
    outcome = await Stage(CASCADE, {"local": local, "api": ScriptedEngine("x")}).run()
    assert outcome.text == "x"
    assert local.runs[0].cancelled
    assert states(outcome)[0] == ("local", "rejected")


@pytest.mark.anyio
async def test_an_answer_far_below_the_limit_is_stopped_early() -> None:
    local = ScriptedEngine(*[Say(f"w{n} ", logprob=-5.0) for n in range(64)], Hang())
    outcome = await Stage(CASCADE, {"local": local, "api": ScriptedEngine("x")}).run()
    assert outcome.text == "x"
    assert local.runs[0].cancelled


@pytest.mark.anyio
async def test_without_early_exit_the_answer_is_finished() -> None:
    local = ScriptedEngine(*[Say(f"w{n} ", logprob=-5.0) for n in range(64)])
    stage = Stage(cascade(early_exit=False), {"local": local, "api": ScriptedEngine("x")})
    await stage.run()
    assert local.runs[0].complete


@pytest.mark.anyio
async def test_an_answer_stopped_early_is_not_a_last_resort() -> None:
    local = ScriptedEngine(*[Say(f"w{n} ", logprob=-5.0) for n in range(64)])
    outcome = await Stage(
        CASCADE, {"local": local, "api": ScriptedEngine(Fail(ErrorKind.AUTH))}
    ).run()
    assert outcome.failure is not None


@pytest.mark.anyio
@pytest.mark.parametrize(("word", "winner"), [("Yes", "local"), ("No", "api")])
async def test_the_verifier_decides_on_an_unsure_verdict(word: str, winner: str) -> None:
    local = ScriptedEngine(Say("perhaps", logprob=-1.0))
    api = ScriptedEngine(scripts=[[Say(word, logprob=-0.1)], ["the api's own"]])
    stage = Stage(
        cascade(verify_with="api"),
        {"local": local, "api": api},
        prices={"api": Price(output_usd_per_mtok=1_000_000)},
    )
    outcome = await stage.run()
    assert outcome.leg is not None
    assert outcome.leg.track.name == winner
    verifier = outcome.legs[1].trace()
    assert (verifier.state, verifier.track) == ("verified", "api")
    assert verifier.cost_usd > 0
    assert api.requests[0].sampling.max_tokens == 1


@pytest.mark.anyio
@pytest.mark.parametrize("logprob", [-0.1, -4.0])
async def test_a_sure_verdict_starts_no_verifier(logprob: float) -> None:
    api = ScriptedEngine("the api's own")
    local = ScriptedEngine(Say("sure", logprob=logprob))
    outcome = await Stage(cascade(verify_with="api"), {"local": local, "api": api}).run()
    assert all(leg.state != "verified" for leg in outcome.legs)


@pytest.mark.anyio
async def test_the_trace_has_the_gates_score_and_the_verifiers_word() -> None:
    engines = {"local": ScriptedEngine(Say("perhaps", logprob=-1.0)), "api": ScriptedEngine("Yes")}
    outcome = await Stage(cascade(verify_with="api"), engines).run()
    judged, verifier = (leg.trace() for leg in outcome.legs)
    assert (judged.score, judged.accepted) == (-1.0, True)
    assert (verifier.score, verifier.accepted) == (1.0, True)
    assert judged.verdict == "api finds it right with probability 1.00"


@pytest.mark.anyio
async def test_good_answers_are_verified_by_share_once_enough_were_judged() -> None:
    stats, share, verified = TrackStats(), 0.25, 0
    for number in range(220):
        local = ScriptedEngine(Say("fine", logprob=-0.1 - (number * 37 % 100) / 500))
        engines = {"local": local, "api": ScriptedEngine("Yes")}
        policy = cascade(verify_with="api", verify_share=share)
        outcome = await Stage(policy, engines, track_stats=stats).run()
        verified += any(leg.state == "verified" for leg in outcome.legs)
        assert number >= 20 or not verified
    assert verified / 200 == pytest.approx(share, abs=0.05)


@pytest.mark.anyio
@pytest.mark.parametrize(("share", "verified"), [(None, 1), (0.0, 0), (1.0, 1)])
async def test_a_share_of_none_leaves_the_margin_and_zero_verifies_nothing(
    share: float | None, verified: int
) -> None:
    engines = {
        "local": ScriptedEngine(Say("perhaps", logprob=-0.9)),
        "api": ScriptedEngine("Yes"),
    }
    outcome = await Stage(cascade(verify_with="api", verify_share=share), engines).run()
    assert sum(leg.state == "verified" for leg in outcome.legs) == verified


def test_equal_scores_do_not_pass_the_share() -> None:
    stats, policy = TrackStats(), cascade(verify_with="api", verify_share=0.1)
    verified = sum(stats.is_doubtful(policy, -0.5) for _ in range(1000))
    assert verified <= 0.1 * 1000 + 10


@pytest.mark.anyio
async def test_a_verifier_is_not_among_the_causes_of_a_failed_turn() -> None:
    api = ScriptedEngine(scripts=[["No"], [Fail(ErrorKind.AUTH)]])
    engines = {"local": ScriptedEngine(Say("perhaps", logprob=-1.0)), "api": api}
    policy = dataclasses.replace(cascade(verify_with="api"), last_resort=False)
    outcome = await Stage(policy, engines).run()
    assert outcome.failure is not None
    causes = [(cause.track, "rejected" in str(cause)) for cause in outcome.failure.causes]
    assert causes == [("local", True), ("api", False)]


@pytest.mark.anyio
async def test_a_verifier_that_fails_leaves_the_gates_verdict() -> None:
    local = ScriptedEngine(Say("perhaps", logprob=-0.8))
    api = ScriptedEngine(Fail(ErrorKind.SERVER))
    outcome = await Stage(cascade(verify_with="api"), {"local": local, "api": api}).run()
    assert outcome.text == "perhaps"


@pytest.mark.anyio
async def test_a_verifier_that_may_not_see_the_turn_is_not_started() -> None:
    local = ScriptedEngine(Say("perhaps", logprob=-0.8))
    outcome = await Stage(cascade(verify_with="api"), {"local": local}).run()
    assert [leg.track.name for leg in outcome.legs] == ["local"]


def test_the_probability_of_yes_is_read_from_the_top_alternatives() -> None:
    token = TokenLogprob(" Yes", math.log(0.6), ((" Yes", math.log(0.6)), ("No", math.log(0.2))))
    assert probability_of_yes(Completion(text=" Yes", logprobs=(token,))) == pytest.approx(0.75)


@pytest.mark.parametrize(("text", "yes"), [("yes.", 1.0), ("**No**", 0.0), ("Maybe", None)])
def test_without_logprobs_the_word_counts(text: str, yes: float | None) -> None:
    assert probability_of_yes(Completion(text=text)) == yes


SCHEMA = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
ENGLISH = "What is the tallest mountain in the world?"
RUSSIAN = "Самая высокая гора в мире - Эверест."  # noqa: RUF001 - it is Russian


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"age": 3}', None),
        ('{"age": "three"}', "not valid under its schema"),
        ("{}", "not valid under its schema"),
        ("age: 3", "not JSON"),
    ],
)
def test_json_is_validated_with_its_schema(text: str, fault: str | None) -> None:
    found = not_under_schema(text, SCHEMA)
    assert (found is None) if fault is None else (fault in str(found))


def test_without_a_schema_any_text_is_valid() -> None:
    assert not_under_schema("age: 3", None) is None


@pytest.mark.parametrize(
    ("text", "question", "differs"),
    [
        (RUSSIAN, ENGLISH, True),
        ("The tallest is Mount Everest.", ENGLISH, False),
        (RUSSIAN, f"{ENGLISH} Answer in Russian, please.", False),
        (RUSSIAN, f"Translate this: {ENGLISH}", False),
        ("エベレストは世界で一番高い山です。", "世界で一番高い山は何ですか。教えてください", False),
        ("8849", ENGLISH, False),
        (RUSSIAN, "?", False),
    ],
)
def test_an_answer_must_be_in_the_script_of_its_question(
    text: str, question: str, differs: bool
) -> None:
    assert (in_another_script(text, question) is not None) == differs


@pytest.mark.anyio
@pytest.mark.parametrize(("language", "winner"), [(True, "api"), (False, "local")])
async def test_a_cascade_rejects_an_answer_in_another_script(language: bool, winner: str) -> None:
    policy = adapt(CASCADE, name="cascade", gate=GateRule(language=language))
    engines = {"local": ScriptedEngine(Say(RUSSIAN)), "api": ScriptedEngine("Mount Everest.")}
    outcome = await Stage(policy, engines, question=ENGLISH).run()
    assert outcome.leg is not None
    assert outcome.leg.track.name == winner


@pytest.mark.anyio
async def test_a_cascade_rejects_json_that_is_not_valid_under_its_schema() -> None:
    engines = {"local": ScriptedEngine("{}"), "api": ScriptedEngine('{"age": 3}')}
    outcome = await Stage(CASCADE, engines, json_schema=SCHEMA).run()
    assert states(outcome) == [("local", "rejected"), ("api", "won")]
