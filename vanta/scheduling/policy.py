"""Policies as data: when each track starts, what commits the turn, which track takes over.

Nothing here runs: the scheduler interprets a policy, so a plugin's policy can do all that a
built-in one can.

Invariant: a `Policy` is frozen and self-contained; `adapt` returns a variant.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vanta.errors import ConfigError
from vanta.normalising import check_number

CommitOn = Literal["first_content", "verdict"]
TakeoverMode = Literal["continue", "restart", "fail"]
When = Literal["always", "hard", "easy"]


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One track's part in a policy.

    :param track: the track's name.
    :param start_after_s: seconds after the turn's start at which the leg starts; None: never by
        the clock. A waiting leg also starts when another leg failed or was rejected.
    :param delay_quantile: quantile, 0 to 1, of the first track's time to first content that
        replaces `start_after_s` once enough turns were observed.
    :param when: `hard` or `easy` lets the clock start the leg only if the router classifies the
        message so.
    :param commit_on: `first_content` binds the turn to the first readable delta; `verdict` waits
        for the finished answer and the gate's approval.
    :param hold_s: seconds of the turn before which first content does not commit it (None:
        never), unless no leg with a shorter hold is left.
    :param amends: if the leg loses it finishes anyway, and replaces the winner's answer if the two
        disagree.
    :raises InvalidValue: if a time or a quantile is not a number within its range.
    """

    track: str
    start_after_s: float | None = 0.0
    delay_quantile: float | None = None
    when: When = "always"
    commit_on: CommitOn = "first_content"
    hold_s: float | None = 0.0
    amends: bool = False

    def __post_init__(self) -> None:
        check_number("start_after_s", self.start_after_s, 0, math.inf)
        check_number("delay_quantile", self.delay_quantile, 0, 1)
        check_number("hold_s", self.hold_s, 0, math.inf)

    @property
    def held_until_s(self) -> float:
        """`hold_s` as a number, infinite for None."""
        return math.inf if self.hold_s is None else self.hold_s


@dataclass(frozen=True, slots=True)
class GateRule:
    """When a finished answer is good enough.

    :param use: name of the gate that judges.
    :param min_mean_logprob: least mean natural log probability of the answer's tokens; None
        ignores it. An engine without logprobs is judged by the other limits.
    :param min_probability: least probability of being right, 0 to 1, for the `calibrated` gate.
    :param min_chars: shorter answers are rejected.
    :param refusals: reject answers that decline to answer.
    :param language: reject answers in another script than the question's.
    :param early_exit: stop an answer as soon as it is certain to be rejected.
    :param verify_with: track that is asked in one token whether an answer is right of which the
        gate is unsure.
    :param verify_share: share of the judged answers, 0 to 1, that are verified: those whose scores
        were nearest to their limit among the latest ones. None selects by `verify_margin` alone.
    :param verify_margin: an answer whose score is this near to its limit is verified while fewer
        than 20 answers were judged, or if `verify_share` is None; in mean logprob, or in log-odds
        for the `calibrated` gate.
    :param verify_limit: least probability, 0 to 1, with which a verified answer is served. None:
        `min_probability` if the gate was fitted with the verifier's answers, otherwise 0.5.
    """

    use: str = "signals"
    min_mean_logprob: float | None = -0.9
    min_probability: float = 0.5
    min_chars: int = 1
    refusals: bool = True
    language: bool = True
    early_exit: bool = True
    verify_with: str | None = None
    verify_share: float | None = 0.2
    verify_margin: float = 0.4
    verify_limit: float | None = None

    def __post_init__(self) -> None:
        check_number("min_mean_logprob", self.min_mean_logprob, -math.inf, math.inf)
        check_number("min_probability", self.min_probability, 0, 1)
        check_number("verify_margin", self.verify_margin, 0, math.inf)


@dataclass(frozen=True, slots=True)
class Policy:
    """A named plan for a turn.

    :param name: the policy's name.
    :param summary: one line for `vanta policies list`.
    :param legs: the legs, in order of preference.
    :param gate: limits for answers that are committed on a verdict.
    :param takeover: what happens when the committed leg breaks. `continue`: the next track
        continues the shown text; `restart`: it answers again, in place of that text; `fail`: the
        turn ends with the error.
    :param last_resort: serve a rejected answer if no track gave another one.
    :param route_share: share of messages, 0 to 1, that the router classifies as hard.
    :param max_extra_share: share of turns, 0 to 1, in which a delayed leg may start by its clock;
        None for no cap.
    """

    name: str
    summary: str
    legs: tuple[LegPlan, ...]
    gate: GateRule | None = None
    takeover: TakeoverMode = "continue"
    last_resort: bool = True
    route_share: float = 0.3
    max_extra_share: float | None = None

    def __post_init__(self) -> None:
        check_number("route_share", self.route_share, 0, 1)
        check_number("max_extra_share", self.max_extra_share, 0, 1)

    @property
    def routes(self) -> bool:
        """True if the policy needs the router's classification of the message."""
        return any(leg.when != "always" for leg in self.legs)

    @property
    def tracks(self) -> tuple[str, ...]:
        """The names of its tracks, in order of preference."""
        return tuple(leg.track for leg in self.legs)


LOCAL = Policy("local", "the local track alone", (LegPlan("local"),))
API = Policy("api", "the api track alone", (LegPlan("api"),))
RACE = Policy(
    "race",
    "both at once, the first readable text wins",
    (LegPlan("local"), LegPlan("api")),
)
HEDGE = Policy(
    "hedge",
    "local first; the api joins if local is silent for longer than it usually is",
    (LegPlan("local"), LegPlan("api", start_after_s=0.5, delay_quantile=0.95)),
    max_extra_share=0.1,
)
CASCADE = Policy(
    "cascade",
    "local first; the api answers if the finished local answer is not good enough",
    (LegPlan("local", commit_on="verdict"), LegPlan("api", start_after_s=None)),
    gate=GateRule(),
)
SPECULATE = Policy(
    "speculate",
    "cascade, but for a hard message the api begins early and is dropped if the gate says yes",
    (LegPlan("local", commit_on="verdict"), LegPlan("api", when="hard", hold_s=None)),
    gate=GateRule(),
)
PREFER = Policy(
    "prefer",
    "both at once; the api wins if it speaks in time, else local does",
    (LegPlan("api"), LegPlan("local", hold_s=2.0)),
)
REFINE = Policy(
    "refine",
    "both at once; local speaks now, the api amends it where it disagrees",
    (LegPlan("local"), LegPlan("api", amends=True)),
)
ROUTE = Policy(
    "route",
    "one track, chosen by how hard the message looks; the other if it fails",
    (LegPlan("local", when="easy"), LegPlan("api", when="hard")),
)
BUILTIN = (LOCAL, API, RACE, HEDGE, CASCADE, SPECULATE, PREFER, REFINE, ROUTE)


def adapt(
    base: Policy,
    *,
    name: str,
    tracks: Sequence[str] | None = None,
    delay_s: float | None = None,
    delay_quantile: float | None = None,
    hold_s: float | None = None,
    takeover: TakeoverMode | None = None,
    last_resort: bool | None = None,
    route_share: float | None = None,
    max_extra_share: float | None = None,
    gate: GateRule | None = None,
) -> Policy:
    """Return a variant of a policy. None keeps a value of `base`.

    :param base: the policy to change.
    :param name: name of the variant.
    :param tracks: names of the tracks of the legs, in order.
    :param delay_s: fixed delay, in seconds, of the legs that have a delay.
    :param delay_quantile: learned delay, as a quantile, of the legs that have a delay.
    :param hold_s: hold, in seconds, of the legs that have one.
    :param takeover: see `Policy`.
    :param last_resort: see `Policy`.
    :param route_share: see `Policy`.
    :param max_extra_share: see `Policy`.
    :param gate: limits that replace those of `base`.
    :returns: the variant.
    :raises ConfigError: if a value would have no effect on `base`.
    """
    legs = base.legs if tracks is None else _recast(base, tracks)
    delayed = any(leg.start_after_s for leg in legs)
    if delay_s is not None:
        _require(base, delayed, "delay_s", "starts no leg by a delay")
        legs = _with_delay(legs, delay_s, delay_quantile)
    elif delay_quantile is not None:
        _require(base, delayed, "delay_quantile", "starts no leg by a delay")
        legs = _with_delay(legs, None, delay_quantile)
    if hold_s is not None:
        _require(base, any(leg.hold_s != 0 for leg in legs), "hold_s", "holds no leg back")
        legs = tuple(
            dataclasses.replace(leg, hold_s=hold_s) if leg.hold_s != 0 else leg for leg in legs
        )
    if gate is not None:
        _require(base, base.gate is not None, "gate", "has no gate")
    if route_share is not None:
        _require(base, base.routes, "route_share", "does not ask the router")
    if max_extra_share is not None:
        _require(base, delayed, "max_extra_share", "starts no leg by a delay")
    set_fields = {
        "gate": gate,
        "takeover": takeover,
        "last_resort": last_resort,
        "route_share": route_share,
        "max_extra_share": max_extra_share,
    }
    changes = {key: value for key, value in set_fields.items() if value is not None}
    variant = dataclasses.replace(base, name=name, legs=legs, **changes)  # type: ignore[arg-type]
    _require_verifier(base, variant)
    return variant


def _require_verifier(base: Policy, variant: Policy) -> None:
    verifier = variant.gate.verify_with if variant.gate else None
    if verifier is not None and verifier not in variant.tracks:
        raise ConfigError(
            f"policy {base.name!r} does not use track {verifier!r}: 'verify_with' has no effect "
            f"there. Name one of its tracks: {', '.join(map(repr, variant.tracks))}."
        )


def _with_delay(
    legs: tuple[LegPlan, ...], delay_s: float | None, quantile: float | None
) -> tuple[LegPlan, ...]:
    return tuple(
        dataclasses.replace(
            leg,
            start_after_s=leg.start_after_s if delay_s is None else delay_s,
            delay_quantile=quantile,
        )
        if leg.start_after_s
        else leg
        for leg in legs
    )


def _recast(base: Policy, tracks: Sequence[str]) -> tuple[LegPlan, ...]:
    if len(tracks) != len(base.legs):
        raise ConfigError(
            f"policy {base.name!r} has {len(base.legs)} legs ({', '.join(base.tracks)}); "
            f"`tracks` names {len(tracks)}. Name one track for each leg."
        )
    return tuple(
        dataclasses.replace(leg, track=track) for leg, track in zip(base.legs, tracks, strict=True)
    )


def _require(base: Policy, holds: bool, key: str, why: str) -> None:
    if not holds:
        raise ConfigError(f"policy {base.name!r} {why}: {key!r} has no effect there. Remove it.")
