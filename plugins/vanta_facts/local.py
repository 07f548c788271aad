"""The local model, asked in the background.

Invariant: only a private track without a price is ever asked, so that nothing that was said leaves
the machine or costs money.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vanta.engine import GenerationRequest, Sampling
from vanta.messages import Completion, Fold, Message
from vanta.track import Price, Track

if TYPE_CHECKING:
    from vanta import Host


def local_track(host: Host, *, json_schema: bool = False) -> Track | None:
    """The track to ask, None if there is none: the first that is private and free, and can keep a
    JSON Schema if that is wanted."""
    for track in host.tracks.values():
        able = track.engine.capabilities.json_schema or not json_schema
        if track.private and track.price == Price() and able:
            return track
    return None


async def ask(
    track: Track,
    prompt: str,
    *,
    session: str,
    max_tokens: int,
    json_schema: Mapping[str, Any] | None = None,
) -> Completion:
    """The whole answer to `prompt`, by the likeliest tokens. session: a name for the engine's KV
    cache. Raises EngineError."""
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0, json_schema=json_schema)
    request = GenerationRequest((Message("user", prompt),), sampling, session=session)
    fold = Fold()
    async with track.engine.stream(request) as deltas:
        async for delta in deltas:
            fold.add(delta)
    return fold.completion()
