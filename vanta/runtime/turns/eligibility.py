"""Which tracks of a policy may take part in a turn, and why the others may not.

Invariant: a track that may not see the turn, or cannot do what the turn needs, never takes part; a
track that failed lately rests, unless no other is left.
"""

from __future__ import annotations

import anyio

from vanta.runtime.turns.turn_settings import TurnSettings
from vanta.runtime.turns.written_calls import able_to_call
from vanta.track import Track


def eligible_tracks(settings: TurnSettings) -> tuple[dict[str, Track], dict[str, str]]:
    """Return the policy's tracks that may take part, and why each other one may not, by name.

    :param settings: the settings of the turn.
    """
    allowed: dict[str, Track] = {}
    skipped: dict[str, str] = {}
    for name in settings.race.policy.tracks:
        track = settings.tracks.get(name)
        if track is None:
            skipped[name] = settings.off.get(name, "no track of this name is configured")
        elif reason := _obstacle(track, settings):
            skipped[name] = reason
        else:
            allowed[name] = able_to_call(track)
    return _healthy(allowed, skipped, settings), skipped


def _obstacle(track: Track, settings: TurnSettings) -> str:
    """Return why a track cannot serve the turn; "" if it can."""
    if settings.private and not track.private:
        return "the turn is private and this track is not"
    return ""


def _healthy(
    allowed: dict[str, Track], skipped: dict[str, str], settings: TurnSettings
) -> dict[str, Track]:
    """Return the tracks without those that failed lately, unless none would be left."""
    resting = settings.race.track_stats.refusals(allowed, anyio.current_time())
    if len(resting) == len(allowed):
        return allowed
    skipped.update(resting)
    return {name: track for name, track in allowed.items() if name not in resting}
