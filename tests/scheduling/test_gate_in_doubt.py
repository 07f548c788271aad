"""The gate: an answer stopped before it is finished, and a verifier's word on one in doubt."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import ErrorKind
from vanta.messages import Completion, TokenLogprob
from vanta.scheduling.answer_checks import probability_of_yes
from vanta.scheduling.policy import CASCADE, GateRule, Policy
from vanta.testing import Fail, Hang, Say, ScriptedEngine
from vanta.track import Price


def cascade(**rule: object) -> Policy:
    return dataclasses.replace(CASCADE, gate=GateRule(**rule))  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_refusal_is_stopped_before_it_is_finished() -> None:
    said = "I'm sorry, but I cannot help with that at all today because of many good reasons " * 3
    local = ScriptedEngine(said, Hang())
    outcome = await Stage(CASCADE, {"local": local, "api": ScriptedEngine("x")}).run()
    assert outcome.text == "x"
    assert local.runs[0].cancelled
    assert states(outcome)[0] == ("local", "rejected")


@pytest.mark.anyio
async def test_an_answer_that_is_hopelessly_unsure_is_stopped_early() -> None:
    local = ScriptedEngine(*[Say(f"w{n} ", logprob=-5.0) for n in range(64)], Hang())
    outcome = await Stage(CASCADE, {"local": local, "api": ScriptedEngine("x")}).run()
    assert outcome.text == "x"
    assert local.runs[0].cancelled


@pytest.mark.anyio
async def test_without_early_exit_the_answer_is_heard_out() -> None:
    local = ScriptedEngine(*[Say(f"w{n} ", logprob=-5.0) for n in range(64)])
    stage = Stage(cascade(early_exit=False), {"local": local, "api": ScriptedEngine("x")})
    await stage.run()
    assert local.runs[0].complete


@pytest.mark.anyio
async def test_an_answer_stopped_early_is_no_last_resort() -> None:
    local = ScriptedEngine(*[Say(f"w{n} ", logprob=-5.0) for n in range(64)])
    outcome = await Stage(
        CASCADE, {"local": local, "api": ScriptedEngine(Fail(ErrorKind.AUTH))}
    ).run()
    assert outcome.failure is not None


@pytest.mark.anyio
@pytest.mark.parametrize(("word", "winner"), [("Yes", "local"), ("No", "api")])
async def test_in_doubt_the_verifier_decides(word: str, winner: str) -> None:
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
async def test_without_doubt_nobody_is_asked(logprob: float) -> None:
    api = ScriptedEngine("the api's own")
    local = ScriptedEngine(Say("sure", logprob=logprob))
    outcome = await Stage(cascade(verify_with="api"), {"local": local, "api": api}).run()
    assert all(leg.state != "verified" for leg in outcome.legs)


@pytest.mark.anyio
async def test_a_verifier_that_fails_leaves_the_gates_own_word() -> None:
    local = ScriptedEngine(Say("perhaps", logprob=-0.8))
    api = ScriptedEngine(Fail(ErrorKind.SERVER))
    outcome = await Stage(cascade(verify_with="api"), {"local": local, "api": api}).run()
    assert outcome.text == "perhaps"


@pytest.mark.anyio
async def test_a_verifier_that_may_not_see_the_turn_is_not_asked() -> None:
    local = ScriptedEngine(Say("perhaps", logprob=-0.8))
    outcome = await Stage(cascade(verify_with="api"), {"local": local}).run()
    assert [leg.track.name for leg in outcome.legs] == ["local"]


def test_the_probability_of_yes_is_read_from_the_rivals() -> None:
    token = TokenLogprob(" Yes", math.log(0.6), ((" Yes", math.log(0.6)), ("No", math.log(0.2))))
    assert probability_of_yes(Completion(text=" Yes", logprobs=(token,))) == pytest.approx(0.75)


@pytest.mark.parametrize(("text", "yes"), [("yes.", 1.0), ("**No**", 0.0), ("Maybe", None)])
def test_without_logprobs_the_word_counts(text: str, yes: float | None) -> None:
    assert probability_of_yes(Completion(text=text)) == yes
