"""Tuning keeps limits, promises what it measured elsewhere, and writes what can be pasted."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vanta.config import load
from vanta.errors import UsageError
from vanta.scheduling import API, CASCADE, HEDGE, LOCAL, PREFER, Policy
from vanta.track import Price
from vanta_tuning.replay.recordings import Play, Recording
from vanta_tuning.replay.stage import Rules
from vanta_tuning.replay.tuning import Tuned, TuningLimits, tune

RULES = Rules(prices={"api": Price(output_usd_per_mtok=1000)})
"""The api's ten tokens cost 0.01 USD."""


def recordings(turns: int = 80) -> list[Recording]:
    """Local is right three times in four and shows it; the api is always right, slow and dear."""
    made = []
    for number in range(turns):
        right = number % 4 != 0
        local = Play(
            0.1,
            0.4,
            1,
            10,
            score=float(right),
            mean_logprob=(-0.2 if right else -0.7) - number / 1e4,
        )
        api = Play(0.8, 2.0, 1, 10, score=1.0)
        made.append(Recording(str(number), {"local": local, "api": api}))
    return made


def tuned_by(limits: TuningLimits, *policies: Policy) -> Tuned:
    return tune(recordings(), policies, limits, RULES, seed=3)


def test_without_limits_the_most_accurate_and_then_the_fastest_wins() -> None:
    tuned = tuned_by(TuningLimits(), LOCAL, API)
    assert tuned.best is not None
    assert (tuned.best.base, tuned.held_out.accuracy) == ("api", 1.0)
    assert tuned.best.snippet == 'policy = "api"\n'


def test_a_limit_on_time_and_one_on_money_are_kept() -> None:
    soon = tuned_by(TuningLimits(max_p95_s=0.5), LOCAL, API, PREFER).best
    cheap = tuned_by(TuningLimits(max_cost_usd=0.009), LOCAL, API).best
    assert soon is not None
    assert cheap is not None
    assert soon.base == "local"
    assert cheap.base == "local"


def test_the_gate_is_set_where_it_parts_right_from_wrong() -> None:
    tuned = tuned_by(TuningLimits(max_cost_usd=0.005), LOCAL, API, CASCADE)
    assert tuned.best is not None
    assert tuned.best.base == "cascade"
    assert -0.71 < tuned.best.knobs["gate"]["min_mean_logprob"] < -0.19
    assert tuned.held_out.accuracy == 1.0
    assert tuned.held_out.cost_usd < 0.005


def test_promised_figures_are_measured_on_held_out_turns() -> None:
    tuned = tuned_by(TuningLimits(), LOCAL)
    assert tuned.held_out.turns + tuned.nearest.chosen_by.turns == 80
    assert tuned.held_out.accuracy != tuned.nearest.chosen_by.accuracy


def test_if_no_policy_keeps_the_limits_the_nearest_is_reported() -> None:
    tuned = tuned_by(TuningLimits(max_p95_s=0.05), LOCAL, API)
    assert tuned.best is None
    assert tuned.nearest.base == "local"
    strict = tuned_by(TuningLimits(min_accuracy=0.9, max_cost_usd=0.0), LOCAL, API)
    assert strict.best is None


def test_every_snippet_is_a_configuration_that_loads(tmp_path: Path) -> None:
    tuned = tuned_by(TuningLimits(), LOCAL, HEDGE, CASCADE, PREFER)
    assert len(tuned.tried) > 8
    for candidate in tuned.tried:
        path = tmp_path / "vanta.toml"
        path.write_text(candidate.snippet)
        config = load(str(path), environ={}).config
        assert config.policy == tomllib.loads(candidate.snippet)["policy"]
        if candidate.knobs:
            base = next(
                policy for policy in (HEDGE, CASCADE, PREFER) if policy.name == candidate.base
            )
            policy = config.policies["tuned"].to_policy("tuned", {candidate.base: base})
            assert policy == candidate.policy


def test_the_same_seed_finds_the_same() -> None:
    first, again = (
        tuned_by(TuningLimits(), LOCAL, CASCADE),
        tuned_by(TuningLimits(), LOCAL, CASCADE),
    )
    assert first == again


def test_too_few_turns_are_refused() -> None:
    with pytest.raises(UsageError, match="19 turns are too few to tune by"):
        tune(recordings(19), [LOCAL], TuningLimits())
