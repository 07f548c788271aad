"""Run the legs of one turn under a policy, within its deadline, its money and its privacy rule.

A `Policy` is data; `Race` interprets it. A `Gate` judges finished answers, and `TrackStats` carries
what one turn shows about the tracks into the next.

Invariant: names are imported when they are first used, so reading a policy loads no scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.scheduling.gate import Gate, SignalsGate, Verdict, declines
    from vanta.scheduling.policy import (
        API,
        BUILTIN,
        CASCADE,
        HEDGE,
        LOCAL,
        PREFER,
        RACE,
        REFINE,
        ROUTE,
        SPECULATE,
        GateRule,
        LegPlan,
        Policy,
        TakeoverMode,
        adapt,
    )
    from vanta.scheduling.race import Race
    from vanta.scheduling.race_plan import RaceOutcome, RacePlan, RaceSettings
    from vanta.scheduling.track_stats import HealthRule, TrackStats

__all__ = [
    "API",
    "BUILTIN",
    "CASCADE",
    "HEDGE",
    "LOCAL",
    "PREFER",
    "RACE",
    "REFINE",
    "ROUTE",
    "SPECULATE",
    "Gate",
    "GateRule",
    "HealthRule",
    "LegPlan",
    "Policy",
    "Race",
    "RaceOutcome",
    "RacePlan",
    "RaceSettings",
    "SignalsGate",
    "TakeoverMode",
    "TrackStats",
    "Verdict",
    "adapt",
    "declines",
]

_NAMES = {
    ".policy": (
        "API BUILTIN CASCADE GateRule HEDGE LOCAL LegPlan PREFER Policy RACE REFINE ROUTE "
        "SPECULATE TakeoverMode adapt"
    ),
    ".gate": "Gate SignalsGate Verdict declines",
    ".race": "Race",
    ".race_plan": "RaceOutcome RacePlan RaceSettings",
    ".track_stats": "HealthRule TrackStats",
}


__getattr__ = lazy_front(__name__, _NAMES)
