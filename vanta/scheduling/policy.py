"""A policy, as data: when each track starts, what commits the turn, who takes over.

Nothing here runs: the scheduler interprets it, so a plugin's policy can do all that a built-in one
can. Invariant: a `Policy` is frozen and self-contained; `adapt` makes a variant of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vanta.errors import ConfigError

CommitOn = Literal["first_content", "verdict"]
TakeoverMode = Literal["continue", "fail"]


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One track's part in a policy.

    start_after_s: seconds after the turn began; None: never by the clock alone. A leg that is
    still waiting for its clock starts at once when another leg has failed or was rejected, since
    nothing is left to wait for. commit_on: `first_content` binds the turn to the first readable
    delta; `verdict` waits for the finished answer and the gate's yes. hold_s: first content may not
    commit the turn before this many seconds, unless no leg without a hold is left.
    """

    track: str
    start_after_s: float | None = 0.0
    commit_on: CommitOn = "first_content"
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GateRule:
    """When a finished answer is good enough. `use` names the gate that judges by it.

    min_mean_logprob: of its tokens, natural log (None: not looked at; an engine without logprobs
    is judged by the rest). min_chars: shorter answers are turned down. refusals: turn down answers
    that decline to answer.
    """

    use: str = "signals"
    min_mean_logprob: float | None = -0.9
    min_chars: int = 1
    refusals: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """A named plan for a turn. `legs` are in order of preference.

    takeover: what happens when the committed leg breaks: `continue` lets the next track go on
    from the shown text, `fail` ends the turn with the error. last_resort: serve an answer that
    the gate turned down if nothing else answered.
    """

    name: str
    summary: str
    legs: tuple[LegPlan, ...]
    gate: GateRule | None = None
    takeover: TakeoverMode = "continue"
    last_resort: bool = True

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
    "local first; the api joins if local is still silent after a delay",
    (LegPlan("local"), LegPlan("api", start_after_s=0.5)),
)
CASCADE = Policy(
    "cascade",
    "local first; the api answers if the finished local answer is not good enough",
    (LegPlan("local", commit_on="verdict"), LegPlan("api", start_after_s=None)),
    gate=GateRule(),
)
PREFER = Policy(
    "prefer",
    "both at once; the api wins if it speaks in time, else local does",
    (LegPlan("api"), LegPlan("local", hold_s=2.0)),
)
BUILTIN = (LOCAL, API, RACE, HEDGE, CASCADE, PREFER)


def adapt(
    base: Policy,
    *,
    name: str,
    tracks: Sequence[str] | None = None,
    delay_s: float | None = None,
    hold_s: float | None = None,
    takeover: TakeoverMode | None = None,
    last_resort: bool | None = None,
    gate: GateRule | None = None,
) -> Policy:
    """A variant of `base`; None keeps what it has.

    tracks: who plays the legs, in order. delay_s, hold_s: new values for the legs that have a delay
    or a hold. Raises ConfigError for a value that would change nothing.
    """
    legs = base.legs if tracks is None else _recast(base, tracks)
    if delay_s is not None:
        _require(
            base, any(leg.start_after_s for leg in legs), "delay_s", "starts no leg by a delay"
        )
        legs = tuple(
            dataclasses.replace(leg, start_after_s=delay_s) if leg.start_after_s else leg
            for leg in legs
        )
    if hold_s is not None:
        _require(base, any(leg.hold_s for leg in legs), "hold_s", "holds no leg back")
        legs = tuple(dataclasses.replace(leg, hold_s=hold_s) if leg.hold_s else leg for leg in legs)
    if gate is not None:
        _require(base, base.gate is not None, "gate", "has no gate")
    return dataclasses.replace(
        base,
        name=name,
        legs=legs,
        gate=gate or base.gate,
        takeover=takeover or base.takeover,
        last_resort=base.last_resort if last_resort is None else last_resort,
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
