"""A policy, as data: when each track starts, what commits the turn, who takes over.

Nothing here runs: the scheduler interprets it, so a plugin's policy can do all that a built-in one
can. Invariant: a `Policy` is frozen and self-contained; `adapt` makes a variant of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vanta.errors import ConfigError

CommitOn = Literal["first_content", "verdict"]
TakeoverMode = Literal["continue", "restart", "fail"]
When = Literal["always", "hard", "easy"]


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One track's part in a policy.

    start_after_s: seconds after the turn began; None: never by the clock alone. A leg that is
    still waiting for its clock starts at once when another leg has failed or was rejected, since
    nothing is left to wait for. delay_quantile: once enough is known, start_after_s is this
    quantile of the first track's time to first content instead. when: `hard` and `easy` let the
    clock start it only if the router says so of the message. commit_on: `first_content` binds the
    turn to the first readable delta; `verdict` waits for the finished answer and the gate's yes.
    hold_s: first content may not commit the turn before this many seconds (None: ever), unless no
    leg with a shorter hold is left. amends: a leg that lost is not stopped but finishes, and
    corrects the winner where it disagrees.
    """

    track: str
    start_after_s: float | None = 0.0
    delay_quantile: float | None = None
    when: When = "always"
    commit_on: CommitOn = "first_content"
    hold_s: float | None = 0.0
    amends: bool = False

    @property
    def held_until_s(self) -> float:
        """`hold_s` as a number: infinite for None."""
        return math.inf if self.hold_s is None else self.hold_s


@dataclass(frozen=True, slots=True)
class GateRule:
    """When a finished answer is good enough. `use` names the gate that judges by it.

    min_mean_logprob: of its tokens, natural log (None: not looked at; an engine without logprobs
    is judged by the rest). min_chars: shorter answers are turned down. refusals: turn down answers
    that decline to answer. language: turn down answers in another script than the question's.
    early_exit: stop an answer that is already sure to be turned down.
    verify_with: a track that is asked for one token, "is this right?", where the mean logprob is
    within verify_margin of its limit. min_probability: of being right, 0 to 1; the `calibrated`
    gate's limit, which has verify_margin in log-odds.
    """

    use: str = "signals"
    min_mean_logprob: float | None = -0.9
    min_probability: float = 0.5
    min_chars: int = 1
    refusals: bool = True
    language: bool = True
    early_exit: bool = True
    verify_with: str | None = None
    verify_margin: float = 0.4


@dataclass(frozen=True, slots=True)
class Policy:
    """A named plan for a turn. `legs` are in order of preference.

    takeover: what happens when the committed leg breaks: `continue` lets the next track go on
    from the shown text, `restart` lets it answer anew in place of that text, `fail` ends the turn
    with the error. last_resort: serve an answer that the gate turned down if nothing else answered.
    route_share: the share of messages that the router shall call hard. max_extra_share: of all
    turns, those in which a delayed leg may start by its clock (None: no cap).
    """

    name: str
    summary: str
    legs: tuple[LegPlan, ...]
    gate: GateRule | None = None
    takeover: TakeoverMode = "continue"
    last_resort: bool = True
    route_share: float = 0.3
    max_extra_share: float | None = None

    @property
    def routes(self) -> bool:
        """Whether it wants to know how hard the message is."""
        return any(leg.when != "always" for leg in self.legs)

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks that it names, in order of preference."""
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
    """A variant of `base`; None keeps what it has.

    tracks: who plays the legs, in order. delay_s, hold_s: new values for the legs that have a delay
    or a hold; a delay_s is fixed, a delay_quantile learned. Raises ConfigError for a value that
    would change nothing.
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
    told = {key: value for key, value in set_fields.items() if value is not None}
    return dataclasses.replace(base, name=name, legs=legs, **told)  # type: ignore[arg-type]


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
