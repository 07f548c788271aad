"""Tuning: search the best policy and knobs within given limits, by replaying them all.

The recordings are split by a seed. Candidates are compared on one half; the reported figures of the
chosen one are measured on the other. Invariant: a limit is kept, or the result says that no
candidate keeps it.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vanta import GateRule, Policy, UsageError
from vanta.scheduling import adapt
from vanta_tuning.replay.recordings import Recording
from vanta_tuning.replay.stage import Rules, UnrecordedWordError, replay
from vanta_tuning.replay.summary import Summary, percentile, summarise

NAME = "tuned"
_DELAYS = (0.5, 0.75, 0.9, 0.95, 0.99)
_HOLDS = (0.5, 0.75, 0.9, 0.95)
_THRESHOLDS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
_VERIFY_SHARES = (0.05, 0.1, 0.3, 0.5, 1.0)
_VERIFY_LIMITS = (0.2, 0.35, 0.65, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class TuningLimits:
    """The limits that a policy must keep; None for no limit.

    :param max_cost_usd: mean cost of a turn.
    :param max_p95_s: p95 of the first content.
    :param min_accuracy: 0 to 1.
    """

    max_cost_usd: float | None = None
    max_p95_s: float | None = None
    min_accuracy: float | None = None

    def excess(self, summary: Summary) -> float:
        """Return 0 if all are kept, otherwise the worst excess as a share of its limit."""
        p95 = summary.first_content_s.p95
        excesses = [
            _over(summary.cost_usd, self.max_cost_usd),
            _over(math.inf if p95 is None else p95, self.max_p95_s),
        ]
        if self.min_accuracy is not None:
            excesses.append(_over(self.min_accuracy, summary.accuracy or 0.0))
        return max(excesses)


@dataclass(frozen=True, slots=True)
class TunedPolicy:
    """A policy with its knobs.

    :param base: the policy that it varies.
    :param knobs: as in the configuration under [policies.tuned].
    :param policy: the varied policy.
    :param chosen_by: its figures on the half of the recordings that candidates are compared on.
    """

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
    """The result of a search.

    :param best: None if no candidate keeps the limits.
    :param nearest: the best candidate, or the one that comes closest to the limits.
    :param held_out: the figures of `nearest` on turns that had no part in the choice.
    :param tried: all candidates that the recordings suffice for.
    :param left_out: the number of candidates that ask a verifier for unrecorded words.
    """

    best: TunedPolicy | None
    nearest: TunedPolicy
    held_out: Summary
    tried: Sequence[TunedPolicy] = field(default_factory=tuple)
    left_out: int = 0


def tune(
    recordings: Sequence[Recording],
    policies: Sequence[Policy],
    limits: TuningLimits,
    rules: Rules | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Tuned:
    """Search the best of `policies` and their knobs within `limits`.

    The best is the most accurate if accuracy is known, then the fastest (p95 of the first content),
    then the cheapest.

    :param recordings: at least 20.
    :param policies: the policies to vary.
    :param limits: the limits to keep.
    :param rules: the rules of the replays.
    :param seed: splits the recordings.
    :param progress: called with the number of finished candidates and their total.
    :raises UnrecordedWordError: every candidate asks a verifier for words that are not recorded.
    :raises UsageError: there are too few turns.
    """
    if len(recordings) < 20:
        raise UsageError(
            f"{len(recordings)} turns are too few to tune by, half of them are held out: give 20 "
            "or more."
        )
    chosen_on, held_out = _halves(recordings, seed)
    grid = [variant for policy in policies for variant in _variants(policy, chosen_on)]
    tried: list[TunedPolicy] = []
    unrecorded: list[UnrecordedWordError] = []
    for number, (base, knobs, policy) in enumerate(grid, 1):
        try:
            summary = summarise(policy.name, replay(chosen_on, policy, rules, seed=seed))
            tried.append(TunedPolicy(base, knobs, policy, summary))
        except UnrecordedWordError as error:
            unrecorded.append(error)
        progress(number, len(grid))
    tried.sort(key=lambda item: (limits.excess(item.chosen_by), *_badness(item.chosen_by)))
    while tried:
        nearest = tried[0]
        try:
            results = replay(held_out, nearest.policy, rules, seed=seed)
        except UnrecordedWordError as error:
            unrecorded.append(error)
            del tried[0]
            continue
        best = nearest if limits.excess(nearest.chosen_by) == 0 else None
        summary = summarise(nearest.policy.name, results)
        return Tuned(best, nearest, summary, tried, len(unrecorded))
    raise unrecorded[0]


def _halves(recordings: Sequence[Recording], seed: int) -> tuple[list[Recording], list[Recording]]:
    rng = random.Random(f"{seed}/halves")  # noqa: S311 - a simulation, no secret
    chosen = set(rng.sample(range(len(recordings)), len(recordings) // 2))
    return (
        [item for number, item in enumerate(recordings) if number in chosen],
        [item for number, item in enumerate(recordings) if number not in chosen],
    )


def _variants(
    policy: Policy, recordings: Sequence[Recording]
) -> list[tuple[str, dict[str, Any], Policy]]:
    """Return the policy itself and with every knob value that the recordings suggest."""
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
        if policy.gate.verify_with:
            settings += [{"gate": {"verify_share": share}} for share in _VERIFY_SHARES]
            settings += [{"gate": {"verify_limit": limit}} for limit in _VERIFY_LIMITS]
    return [(policy.name, knobs, _adapted(policy, knobs)) for knobs in settings]


def _adapted(policy: Policy, knobs: Mapping[str, Any]) -> Policy:
    if not knobs:
        return policy
    changes = dict(knobs)
    if "gate" in changes:
        changes["gate"] = dataclasses.replace(policy.gate or GateRule(), **changes["gate"])
    return adapt(policy, name=NAME, **changes)


def _silences(track: str, recordings: Sequence[Recording]) -> list[float]:
    plays = (recording.plays[track] for recording in recordings)
    return sorted(play.ttft_s for play in plays if not play.error)


def _logprobs(policy: Policy, recordings: Sequence[Recording]) -> list[float]:
    judged = [leg.track for leg in policy.legs if leg.commit_on == "verdict"]
    plays = (recording.plays[track] for recording in recordings for track in judged)
    return sorted(play.mean_logprob for play in plays if play.mean_logprob is not None)


def _quantiles(values: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Return rounded, distinct quantiles; values below a millisecond are left out."""
    if not values:
        return []
    rounded = dict.fromkeys(round(percentile(values, share), 3) for share in shares)
    return [value for value in rounded if value]


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
