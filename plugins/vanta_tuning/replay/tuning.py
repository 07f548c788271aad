"""Tuning: the policy and the knobs that do best inside given limits, found by replaying them all.

The recordings are split by a seed: candidates are compared on one half, and what the chosen one is
said to do was measured on the other, which had no part in the choice. Invariant: a limit is kept
or the answer is that nothing keeps it.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vanta.errors import UsageError
from vanta.scheduling import GateRule, Policy, adapt
from vanta_tuning.replay.plays import Recording
from vanta_tuning.replay.stage import Rules, replay
from vanta_tuning.replay.summary import Summary, percentile, summarise

NAME = "tuned"
_DELAYS = (0.5, 0.75, 0.9, 0.95, 0.99)
_HOLDS = (0.5, 0.75, 0.9, 0.95)
_THRESHOLDS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a policy must keep. max_cost_usd: mean of a turn. max_p95_s: of first content, seconds.
    min_accuracy: 0 to 1. None: no such limit."""

    max_cost_usd: float | None = None
    max_p95_s: float | None = None
    min_accuracy: float | None = None

    def excess(self, summary: Summary) -> float:
        """0 if all are kept, else how far the worst is passed, as a share of the limit."""
        p95 = summary.first_content_s.p95
        passed = [
            _over(summary.cost_usd, self.max_cost_usd),
            _over(math.inf if p95 is None else p95, self.max_p95_s),
        ]
        if self.min_accuracy is not None:
            passed.append(_over(self.min_accuracy, summary.accuracy or 0.0))
        return max(passed)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy with its knobs. base: the policy that it varies; knobs: as the configuration
    has them under [policies.tuned]; chosen_by: how it did where it was chosen."""

    base: str
    knobs: Mapping[str, Any]
    policy: Policy
    chosen_by: Summary

    @property
    def snippet(self) -> str:
        """The configuration to paste."""
        if not self.knobs:
            return f'policy = "{self.base}"\n'
        lines = [f'policy = "{NAME}"', "", f"[policies.{NAME}]", f'base = "{self.base}"']
        gate = self.knobs.get("gate")
        lines += [f"{key} = {value!r}" for key, value in self.knobs.items() if key != "gate"]
        if gate:
            lines += ["", f"[policies.{NAME}.gate]"]
            lines += [f"{key} = {value!r}" for key, value in gate.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was found. best: None if nothing keeps the limits, then nearest comes closest. held_out:
    what the best (else the nearest) did on turns that had no part in the choice."""

    best: Candidate | None
    nearest: Candidate
    held_out: Summary
    tried: Sequence[Candidate] = field(default_factory=tuple)


def tune(
    recordings: Sequence[Recording],
    policies: Sequence[Policy],
    limits: Limits,
    rules: Rules | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Tuned:
    """The best of `policies` and their knobs inside `limits`.

    Best is the most accurate where accuracy is known, then the soonest (p95 of first content),
    then the cheapest. progress: told how many candidates of how many are done. Raises UsageError
    for fewer than 20 turns.
    """
    if len(recordings) < 20:
        raise UsageError(
            f"{len(recordings)} turns are too few to tune by, half of them are held out: give 20 "
            "or more."
        )
    chosen_on, held_out = _halves(recordings, seed)
    grid = [one for policy in policies for one in _variants(policy, chosen_on)]
    tried = []
    for number, (base, knobs, policy) in enumerate(grid, 1):
        summary = summarise(policy.name, replay(chosen_on, policy, rules, seed=seed))
        tried.append(Candidate(base, knobs, policy, summary))
        progress(number, len(grid))
    nearest = min(tried, key=lambda one: (limits.excess(one.chosen_by), *_badness(one.chosen_by)))
    best = nearest if limits.excess(nearest.chosen_by) == 0 else None
    result = summarise(nearest.policy.name, replay(held_out, nearest.policy, rules, seed=seed))
    return Tuned(best, nearest, result, tried)


def _halves(recordings: Sequence[Recording], seed: int) -> tuple[list[Recording], list[Recording]]:
    rng = random.Random(f"{seed}/halves")  # noqa: S311 - a simulation, no secret
    chosen = set(rng.sample(range(len(recordings)), len(recordings) // 2))
    return (
        [one for number, one in enumerate(recordings) if number in chosen],
        [one for number, one in enumerate(recordings) if number not in chosen],
    )


def _variants(
    policy: Policy, recordings: Sequence[Recording]
) -> list[tuple[str, dict[str, Any], Policy]]:
    """The policy as it is, and with every value of its knobs that the recordings suggest."""
    settings: list[dict[str, Any]] = [{}]
    if any(leg.start_after_s for leg in policy.legs):
        silences = _silences(policy.legs[0].track, recordings)
        settings += [{"delay_s": value} for value in _quantiles(silences, _DELAYS)]
    if any(leg.hold_s for leg in policy.legs):
        silences = _silences(policy.legs[0].track, recordings)
        settings += [{"hold_s": value} for value in _quantiles(silences, _HOLDS)]
    if policy.gate is not None:
        limits = _quantiles(_logprobs(policy, recordings), _THRESHOLDS)
        settings += [{"gate": {"min_mean_logprob": value}} for value in limits]
    return [(policy.name, knobs, _adapted(policy, knobs)) for knobs in settings]


def _adapted(policy: Policy, knobs: Mapping[str, Any]) -> Policy:
    if not knobs:
        return policy
    told = dict(knobs)
    if "gate" in told:
        told["gate"] = dataclasses.replace(policy.gate or GateRule(), **told["gate"])
    return adapt(policy, name=NAME, **told)


def _silences(track: str, recordings: Sequence[Recording]) -> list[float]:
    plays = (recording.plays[track] for recording in recordings)
    return sorted(play.ttft_s for play in plays if not play.error)


def _logprobs(policy: Policy, recordings: Sequence[Recording]) -> list[float]:
    judged = [leg.track for leg in policy.legs if leg.commit_on == "verdict"]
    plays = (recording.plays[track] for recording in recordings for track in judged)
    return sorted(play.mean_logprob for play in plays if play.mean_logprob is not None)


def _quantiles(values: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Rounded for a configuration, each once; nothing below a millisecond is a delay."""
    if not values:
        return []
    found = dict.fromkeys(round(percentile(values, share), 3) for share in shares)
    return [value for value in found if value]


def _badness(summary: Summary) -> tuple[float, float, float]:
    p95 = summary.first_content_s.p95
    return (
        -(summary.accuracy or 0.0),
        math.inf if p95 is None else p95,
        summary.cost_usd,
    )


def _over(value: float, limit: float | None) -> float:
    if limit is None or value <= limit:
        return 0.0
    return math.inf if limit <= 0 else value / limit - 1
