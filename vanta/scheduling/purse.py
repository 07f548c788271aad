"""The purse: who pays for a turn's legs, as the scheduler sees it; `vanta.money` implements it.

Invariant: every `open_leg` that gave a leg is followed by its `close`, under a shield, whatever
ended the leg.
"""

from __future__ import annotations

from typing import Protocol

from vanta.engine import GenerationRequest
from vanta.errors import EngineError
from vanta.messages import Completion, Usage
from vanta.track import Track


class PaidLeg(Protocol):
    """A leg that money was set aside for."""

    @property
    def request(self) -> GenerationRequest:
        """What to send: the request, its answer bounded where the budget needs that."""
        ...

    async def close(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        """Settle a leg that stands still.

        usage: what the engine told, None if nothing. seen: the answer as far as it came. failure:
        what the engine raised. Returns the usage that was billed. Never raises.
        """
        ...


class Purse(Protocol):
    """Pays for the legs of one turn."""

    async def open_leg(self, track: Track, request: GenerationRequest) -> PaidLeg | None:
        """Set aside what the leg can cost at the most; None for a track without a price.

        Raises EngineError (`budget`), which fails this leg alone: another track may answer.
        """
        ...
