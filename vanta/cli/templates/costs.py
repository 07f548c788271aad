"""The cost of a rendered template in a track's own tokens, in total and by its pieces.

Invariant: one engine is loaded and closed again, and nothing is generated. The cost of a piece is
the growth of the prompt when the piece is appended, so the costs add up. A blank at the end of a
piece counts with the next piece, because most tokenizers put it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vanta.cli.setup import Setup
    from vanta.engine import Engine, TokenCount
    from vanta.prompts import TextSpan
    from vanta.track import Track


@dataclass(frozen=True, slots=True)
class Part:
    """Everything that one file or one variable contributed."""

    kind: str
    name: str
    characters: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Costs:
    """The token counts of a template on one track.

    :param tokens: the template as a system message, `around` included.
    :param around: the tokens of the chat format without any text.
    :param exact: False for an estimate.
    """

    track: str
    model: str
    tokens: int
    around: int
    exact: bool
    parts: tuple[Part, ...]


async def count_costs(setup: Setup, name: str, pieces: Sequence[TextSpan]) -> Costs:
    """Count the tokens of the pieces on the track `name`.

    :raises UnknownName: if the track is unknown.
    :raises NoTrack: if the track is off.
    :raises EngineError: if its engine cannot be loaded.
    """
    from vanta.errors import NoTrack, UnknownName

    tracks, off = setup.tracks()
    try:
        if name in off:
            raise NoTrack(f"track {name}", {name: off[name]})
        if name not in tracks:
            raise UnknownName("track", name, [*tracks, *off])
        return await _count_pieces(tracks[name], pieces)
    finally:
        for track in tracks.values():
            await track.close()


async def _count_pieces(track: Track, pieces: Sequence[TextSpan]) -> Costs:
    await track.load()
    empty = await _count(track.engine, "")
    parts: dict[tuple[str, str], Part] = {}
    text, last = "", empty
    for number, piece in enumerate(pieces, start=1):
        text += piece.text
        counted = text if number == len(pieces) else text.rstrip(" ")
        grown = await _count(track.engine, counted)
        key = (piece.kind, piece.name)
        before = parts.get(key, Part(*key, 0, 0))
        parts[key] = Part(
            *key,
            before.characters + len(piece.text),
            before.tokens + grown.value - last.value,
        )
        last = grown
    return Costs(
        track=track.name,
        model=track.engine.model,
        tokens=last.value,
        around=empty.value,
        exact=last.exact,
        parts=tuple(parts.values()),
    )


async def _count(engine: Engine, system: str) -> TokenCount:
    from vanta.messages import Message

    return await engine.count_tokens((Message("system", system),))
