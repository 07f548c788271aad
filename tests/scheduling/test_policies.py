"""What each built-in policy does, and what a variant of one changes."""

from __future__ import annotations

import dataclasses

import anyio
import pytest

from tests.scheduling.stage import Stage, states
from vanta.errors import ConfigError, ErrorKind, NoTrack
from vanta.events import Committed, LegStarted
from vanta.scheduling.policy import (
    API,
    CASCADE,
    HEDGE,
    LOCAL,
    PREFER,
    RACE,
    GateRule,
    Policy,
    adapt,
)
from vanta.testing import Fail, Finish, Hang, Say, ScriptedEngine, Wait

REFUSAL = "I'm sorry, but I can't help with that."


@pytest.mark.anyio
@pytest.mark.parametrize(("policy", "started"), [(LOCAL, "local"), (API, "api")])
async def test_local_and_api_start_one_track_only(policy: Policy, started: str) -> None:
    engines = {"local": ScriptedEngine(Say("l")), "api": ScriptedEngine(Say("a"))}
    await Stage(policy, engines).run()
    assert [name for name, engine in engines.items() if engine.runs] == [started]


@pytest.mark.anyio
async def test_race_starts_both_at_once() -> None:
    gate = anyio.Event()
    engines = {"local": ScriptedEngine(Wait(gate), Say("l")), "api": ScriptedEngine(Hang())}
    stage = Stage(RACE, engines)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        await engines["api"].run()
        gate.set()
    assert [event.track for event in stage.of(LegStarted)] == ["local", "api"]


@pytest.mark.anyio
async def test_hedge_does_not_start_the_api_if_local_answers_in_time() -> None:
    engines = {"local": ScriptedEngine("quick"), "api": ScriptedEngine(Say("a"))}
    outcome = await Stage(HEDGE, engines).run()
    assert states(outcome) == [("local", "won")]


@pytest.mark.anyio
async def test_hedge_starts_the_api_when_local_is_silent_for_the_delay() -> None:
    policy = adapt(HEDGE, name="hedge", delay_s=0.01)
    engines = {"local": ScriptedEngine(Hang()), "api": ScriptedEngine(Say("a"))}
    outcome = await Stage(policy, engines).run()
    assert states(outcome) == [("local", "cancelled"), ("api", "won")]
    assert outcome.legs[1].started_s >= 0.01


@pytest.mark.anyio
async def test_a_hedge_that_has_begun_can_still_lose() -> None:
    policy = adapt(HEDGE, name="hedge", delay_s=0.01)
    api = ScriptedEngine(Hang())
    gate = anyio.Event()
    stage = Stage(policy, {"local": ScriptedEngine(Wait(gate), Say("l")), "api": api})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        await api.run()
        gate.set()
    assert stage.text == "l"
    assert api.runs[0].cancelled


@pytest.mark.anyio
async def test_cascade_shows_nothing_before_the_gate_accepts() -> None:
    stage = Stage(CASCADE, {"local": ScriptedEngine("a b c"), "api": ScriptedEngine(Say("x"))})
    outcome = await stage.run()
    kinds = stage.kinds()
    assert kinds.index("LegFinished") < kinds.index("Committed")
    assert (outcome.text, states(outcome)) == ("a b c", [("local", "won")])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "local",
    [
        ScriptedEngine(Say(REFUSAL)),
        ScriptedEngine(Say("unsure", logprob=-4.0)),
        ScriptedEngine(Say("cut off"), Finish("length")),
    ],
    ids=["a refusal", "low logprobs", "a cut answer"],
)
async def test_cascade_starts_the_api_if_the_local_answer_is_not_good_enough(
    local: ScriptedEngine,
) -> None:
    stage = Stage(CASCADE, {"local": local, "api": ScriptedEngine(Say("better"))})
    outcome = await stage.run()
    assert outcome.text == stage.text == "better"
    assert states(outcome) == [("local", "rejected"), ("api", "won")]
    assert outcome.legs[0].trace().verdict


@pytest.mark.anyio
async def test_cascade_accepts_a_confident_answer() -> None:
    local = ScriptedEngine(Say("sure", logprob=-0.1))
    outcome = await Stage(CASCADE, {"local": local, "api": ScriptedEngine(Say("x"))}).run()
    assert states(outcome) == [("local", "won")]


@pytest.mark.anyio
async def test_cascade_starts_with_the_api_if_there_is_no_local_track() -> None:
    outcome = await Stage(CASCADE, {"api": ScriptedEngine(Say("a"))}).run()
    assert outcome.text == "a"


@pytest.mark.anyio
async def test_prefer_commits_to_the_api_though_local_was_first() -> None:
    gate = anyio.Event()
    local, api = ScriptedEngine("l l l"), ScriptedEngine(Wait(gate), Say("a"))
    stage = Stage(PREFER, {"api": api, "local": local})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.run)
        await (await local.run()).stopped.wait()
        assert not stage.of(Committed)
        gate.set()
    assert stage.text == "a"


@pytest.mark.anyio
async def test_prefer_falls_back_to_local_if_the_api_is_late() -> None:
    policy = adapt(PREFER, name="prefer", hold_s=0.02)
    stage = Stage(policy, {"api": ScriptedEngine(Hang()), "local": ScriptedEngine("l l")})
    outcome = await stage.run()
    assert outcome.text == "l l"
    assert stage.of(Committed)[0].at_s >= 0.02


@pytest.mark.anyio
async def test_prefer_ends_the_hold_early_if_the_api_failed() -> None:
    policy = adapt(PREFER, name="prefer", hold_s=60)
    engines = {"api": ScriptedEngine(Fail(ErrorKind.AUTH)), "local": ScriptedEngine("l")}
    outcome = await Stage(policy, engines).run()
    assert outcome.text == "l"


@pytest.mark.anyio
async def test_a_missing_track_is_skipped() -> None:
    outcome = await Stage(RACE, {"local": ScriptedEngine("l")}).run()
    assert states(outcome) == [("local", "won")]


@pytest.mark.anyio
async def test_a_policy_without_any_track_is_refused() -> None:
    with pytest.raises(NoTrack, match="'race'"):
        await Stage(RACE, {"other": ScriptedEngine("x")}).run()


def test_a_variant_replaces_the_tracks_in_order() -> None:
    assert adapt(RACE, name="mine", tracks=["big", "small"]).tracks == ("big", "small")


def test_a_variant_keeps_other_values() -> None:
    variant = adapt(HEDGE, name="mine", delay_s=0.2)
    assert variant == dataclasses.replace(
        HEDGE,
        name="mine",
        legs=(
            HEDGE.legs[0],
            dataclasses.replace(HEDGE.legs[1], start_after_s=0.2, delay_quantile=None),
        ),
    )


@pytest.mark.parametrize(
    ("base", "change", "words"),
    [
        (RACE, {"delay_s": 1.0}, "starts no leg by a delay"),
        (RACE, {"hold_s": 1.0}, "holds no leg back"),
        (RACE, {"gate": GateRule()}, "has no gate"),
        (RACE, {"tracks": ["one"]}, "has 2 legs"),
    ],
)
def test_a_setting_without_effect_is_an_error(
    base: Policy, change: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        adapt(base, name="mine", **change)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rule", "winner"),
    [
        (GateRule(min_mean_logprob=None), "local"),
        (GateRule(min_chars=50), "api"),
        (GateRule(min_mean_logprob=-5.0), "local"),
    ],
)
async def test_each_limit_of_the_gate_changes_its_verdict(rule: GateRule, winner: str) -> None:
    policy = adapt(CASCADE, name="cascade", gate=rule)
    local = ScriptedEngine(Say("unsure", logprob=-4.0))
    outcome = await Stage(policy, {"local": local, "api": ScriptedEngine(Say("a"))}).run()
    assert outcome.leg is not None
    assert outcome.leg.track.name == winner


@pytest.mark.anyio
async def test_a_gate_may_accept_refusals() -> None:
    policy = adapt(CASCADE, name="cascade", gate=GateRule(refusals=False))
    local = ScriptedEngine(Say(REFUSAL))
    outcome = await Stage(policy, {"local": local, "api": ScriptedEngine(Say("a"))}).run()
    assert outcome.text == REFUSAL
