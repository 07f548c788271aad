"""What a rendered template costs in a track's own tokens, as a whole and by its pieces.

Invariant: one engine is loaded, and closed again; nothing is generated. A piece costs what the
prompt grows by when the piece is added to what stands before it, so that the costs add up. A blank
at the end of a piece counts with the next: that is where most tokenizers put it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vanta.cli.ground import Ground
    from vanta.engine import Engine, TokenCount
    from vanta.prompts.anatomy import Piece
    from vanta.track import Track


@dataclass(frozen=True, slots=True)
class Part:
    """All that one file or one variable wrote."""

    kind: str
    name: str
    characters: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Costs:
    """tokens: of the whole as a system message, `around` included, which the chat format takes
    without any text. exact: False for an estimate."""

    track: str
    model: str
    tokens: int
    around: int
    exact: bool
    parts: tuple[Part, ...]


async def costs(here: Ground, name: str, pieces: Sequence[Piece]) -> Costs:
    """What the pieces cost on the track `name`. Raises UnknownName, NoTrack, EngineError."""
    from vanta.errors import NoTrack, UnknownName

    tracks, off = here.tracks()
    try:
        if name in off:
            raise NoTrack(f"track {name}", {name: off[name]})
        if name not in tracks:
            raise UnknownName("track", name, [*tracks, *off])
        return await _counted(tracks[name], pieces)
    finally:
        for track in tracks.values():
            await track.engine.aclose()


async def _counted(track: Track, pieces: Sequence[Piece]) -> Costs:
    await track.engine.load()
    empty = await _count(track.engine, "")
    found: dict[tuple[str, str], Part] = {}
    text, last = "", empty
    for number, piece in enumerate(pieces, start=1):
        text += piece.text
        counted = text if number == len(pieces) else text.rstrip(" ")
        grown = await _count(track.engine, counted)
        key = (piece.kind, piece.name)
        before = found.get(key, Part(*key, 0, 0))
        found[key] = Part(
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
        parts=tuple(found.values()),
    )


async def _count(engine: Engine, system: str) -> TokenCount:
    from vanta.messages import Message

    return await engine.count_tokens((Message("system", system),))
