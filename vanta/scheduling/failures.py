"""What a race does about legs without an answer: which to try again, and why the turn failed.

Invariant: no leg fails silently. Each one that failed or was rejected is a cause of the turn's
error; if none has started, the deadline is, once for each track. A track is tried again only if its
error may be temporary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vanta.errors import EngineError
from vanta.scheduling.leg import Leg
from vanta.scheduling.leg_errors import backoff_s, rejected_answer, retry_too_late, too_late
from vanta.scheduling.policy import LegPlan, Policy
from vanta.scheduling.race_plan import RacePlan, RaceSettings
from vanta.scheduling.track_stats import RETRYABLE
from vanta.track import Track


def causes_of(legs: Sequence[Leg], plan: RacePlan, now_s: float) -> list[EngineError]:
    """Return why each leg gave no answer; for tracks that never started, the deadline.

    :param legs: the legs of the race.
    :param plan: the race.
    :param now_s: the present second of the turn.
    """
    causes = [
        leg.error or rejected_answer(leg.track, leg.verdict)
        for leg in legs
        if leg.error or (leg.verdict and leg.state != "verified")
    ]
    return causes or [_never_started(track, plan, now_s) for track in plan.tracks.values()]


def last_resort(legs: Sequence[Leg], policy: Policy) -> Leg | None:
    """Return the leg whose answer is served although the gate rejected it, None if none is.

    An answer that is not of the type that was asked for is never served.

    :param legs: the legs of the race, the preferred ones first.
    :param policy: its policy.
    """
    rejected = [leg for leg in legs if leg.state == "rejected" and leg.finished and not leg.error]
    return rejected[0] if rejected and policy.last_resort else None


def _never_started(track: Track, plan: RacePlan, now_s: float) -> EngineError:
    wait_s = plan.earliest_s.get(track.name, 0.0)
    if wait_s >= plan.settings.deadline_s:
        return retry_too_late(track, wait_s - now_s)
    return too_late(track, plan.settings.deadline_s)


def retries_of(
    legs: Sequence[Leg], settings: RaceSettings, now_s: float
) -> Iterator[tuple[LegPlan, float]]:
    """Yield the plans of failed tracks that may recover, with the seconds at which to start them.

    :param legs: the legs of the race.
    :param settings: how often a track may be tried again, and until when.
    :param now_s: the present second of the turn.
    """
    for leg in {leg.track.name: leg for leg in legs if leg.error}.values():
        attempt = sum(other.track is leg.track for other in legs)
        at_s, error = now_s + backoff_s(leg.error, attempt), leg.error
        temporary = error is not None and error.retryable and error.kind in RETRYABLE
        if temporary and attempt <= settings.retries and at_s < settings.deadline_s:
            yield leg.plan, at_s
