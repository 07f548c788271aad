"""Legs whose price is not known, under a cap.

Invariant: under a cap, no leg without a known price is sent unless the configuration counts it as
free, or a person has allowed its track. Without a handler to ask, what would be asked is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import anyio

from vanta.errors import ErrorKind
from vanta.track import Track

UnpricedMode = Literal["refuse", "ask", "free"]

ApproveUnpriced = Callable[[str, str], Awaitable[bool]]
"""Receives the names of a track and its model; returns whether the track may spend."""

_PREFIXES = ("openrouter/", "openai/")
"""What routers put before the name of a model that they bill at its list price."""


def listed_name(model: str) -> str:
    """Return a model's name as price lists write it: lower case, without a router's prefix.

    :param model: the name as configured.
    """
    name = model.strip().lower()
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _command(track: str) -> str:
    """Return a shell command that sets a track's prices, "" for a name that no variable has."""
    if not track.isidentifier() or track != track.lower():
        return ""
    prefix = f"VANTA_TRACKS__{track.upper()}__"
    return f": `export {prefix}INPUT_USD_PER_MTOK=1 {prefix}OUTPUT_USD_PER_MTOK=4`"


@dataclass(slots=True)
class UnpricedRule:
    """Decides about legs without a known price. One instance serves one runtime.

    :param mode: `refuse`, `ask` or `free`.
    :param approve: asks a person, at most once for each track and model; None refuses.
    """

    mode: UnpricedMode = "refuse"
    approve: ApproveUnpriced | None = None
    _answers: dict[tuple[str, str], bool] = field(default_factory=dict)
    _asking: anyio.Lock = field(default_factory=anyio.Lock)

    async def permit(self, track: Track) -> None:
        """Return if a leg of the track may be sent under a cap.

        :param track: a track without a known price.
        :raises EngineError: `budget` if it may not.
        """
        if self.mode == "free" or (self.mode == "ask" and await self._is_approved(track)):
            return
        raise track.error(
            ErrorKind.BUDGET,
            f"a cap is set and the price of model {track.engine.model!r} is not known"
            + (", and its use was not allowed" if self.mode == "ask" else ""),
            f"Set input_usd_per_mtok and output_usd_per_mtok under [tracks.{track.name}] (0 if it "
            f'is free){_command(track.name)}, or set budget.unpriced to "free".',
        )

    async def _is_approved(self, track: Track) -> bool:
        if self.approve is None:
            return False
        key = (track.name, track.engine.model)
        async with self._asking:
            if key not in self._answers:
                self._answers[key] = await self.approve(*key)
            return self._answers[key]
