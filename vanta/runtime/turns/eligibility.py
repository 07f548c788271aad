"""Which tracks of a policy may take part in a turn, and why the others may not.

Invariant: a track that may not see the turn, or cannot do what the turn needs, never takes part; a
track that failed lately rests, unless no other is left.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from vanta.errors import NoTrack
from vanta.messages import Message
from vanta.runtime.turns.turn_settings import TurnSettings
from vanta.runtime.turns.written_calls import able_to_call
from vanta.track import Track

BLIND = (
    "the message has an image, and the model {model!r} cannot see. Use a track whose model can; if "
    "this one can, set the option `images = true` of its track, where its engine has that option"
)
"""Why a track takes no part in a turn with an image."""


def eligible_tracks(
    settings: TurnSettings, message: Message
) -> tuple[dict[str, Track], dict[str, str]]:
    """Return the policy's tracks that may take part, and why each other one may not, by name.

    :param settings: the settings of the turn.
    :param message: the user's message. A track whose model cannot see takes no part if it has an
        image; of images of earlier turns and of results it reads that they were there.
    """
    has_images = bool(message.images)
    allowed: dict[str, Track] = {}
    skipped: dict[str, str] = {}
    for name in settings.race.policy.tracks:
        track = settings.tracks.get(name)
        if track is None:
            skipped[name] = settings.off.get(name, "no track of this name is configured")
        elif reason := _obstacle(track, settings, has_images=has_images):
            skipped[name] = reason
        else:
            allowed[name] = able_to_call(track)
    return _healthy(allowed, skipped, settings), skipped


def no_track(settings: TurnSettings, skipped: Mapping[str, str], message: Message) -> NoTrack:
    """Return the error of a turn in which no track may take part.

    :param settings: the settings of the turn.
    :param skipped: why each track may not.
    :param message: the user's message.
    """
    tracks = [settings.tracks.get(name) for name in settings.race.policy.tracks]
    blind = any(track and not track.engine.capabilities.images for track in tracks)
    return NoTrack(settings.race.policy.name, skipped, unable=blind and bool(message.images))


def _obstacle(track: Track, settings: TurnSettings, *, has_images: bool) -> str:
    """Return why a track cannot serve the turn; "" if it can."""
    if settings.private and not track.private:
        because = settings.private_because if has_images else None
        why = f": {because}" if because else ""
        return f"the turn is private and this track is not{why}"
    if has_images and not track.engine.capabilities.images:
        return BLIND.format(model=track.engine.model)
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
