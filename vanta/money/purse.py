"""The purse of one turn: pays for its legs, one by one, out of the ledger.

Invariant: a leg on a track without a price costs the ledger nothing, not even a look; every other
leg is reserved before its engine is asked and settled once it stands still, whatever ended it.
"""

from __future__ import annotations

from dataclasses import dataclass

from vanta.engine import GenerationRequest, TokenCount
from vanta.errors import BudgetExceeded, EngineError, ErrorKind, StoreError
from vanta.messages import Completion, Usage
from vanta.money.costs import bounded, estimate_loser, max_cost_usd, within_bounds
from vanta.money.ledger import Ledger
from vanta.money.reservation import Reservation
from vanta.track import Track

GRACE_S = 300.0
"""Seconds past the turn's deadline for which a leg's lease holds."""

_UNSURE = frozenset({ErrorKind.NETWORK, ErrorKind.TIMEOUT})
"""Failures after which nobody knows whether the provider had begun."""


@dataclass(frozen=True, slots=True)
class TurnPurse:
    """Whose money it is: the user's, the session's and the turn's. deadline_s: of the turn."""

    ledger: Ledger
    user: str
    session: str
    turn: str
    deadline_s: float

    async def open_leg(self, track: Track, request: GenerationRequest) -> OpenLeg | None:
        """Reserve what the leg can cost at the most; None for a track without a price.

        Raises EngineError: `budget` if a cap or a broken ledger does not let the leg start, and
        what the engine's `count_tokens` raises.
        """
        if not (track.price.input_usd_per_mtok or track.price.output_usd_per_mtok):
            return None
        counted = await track.engine.count_tokens(request.messages)
        if self.ledger.caps:
            request = bounded(track, request)
        reservation = await self._reserve(track, max_cost_usd(track, request, counted))
        return OpenLeg(self.ledger, track, request, counted, reservation)

    async def _reserve(self, track: Track, usd: float) -> Reservation:
        try:
            return await self.ledger.reserve(
                user=self.user,
                session=self.session,
                turn=self.turn,
                track=track.name,
                usd=usd,
                lease_s=self.deadline_s + GRACE_S,
            )
        except BudgetExceeded as error:
            raise _refusal(track, error.message, error.suggestion) from error
        except StoreError as error:
            raise _refusal(track, f"the ledger cannot tell what is left: {error}", "") from error


@dataclass(frozen=True, slots=True)
class OpenLeg:
    """A leg that was paid for. request: what to send, its answer bounded where a cap is set."""

    ledger: Ledger
    track: Track
    request: GenerationRequest
    counted: TokenCount
    reservation: Reservation

    async def close(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        """Settle: at the usage that the engine reported, else at an estimate of what was seen.

        failure: what broke the leg. Returns the usage that was billed, None where the engine never
        began. Call it under a shield.
        """
        billed = self._billed(usage, seen, failure)
        cost = self.track.price.of(billed)
        await self.ledger.settle(self.reservation, cost, exact=billed is None or billed.exact)
        return billed

    def _billed(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        if usage is not None:
            return within_bounds(self.track, self.request, self.counted, usage)
        if failure is not None and failure.kind not in _UNSURE:
            return None
        return estimate_loser(self.track, self.request, self.counted, seen)


def _refusal(track: Track, message: str, suggestion: str) -> EngineError:
    error = EngineError(
        ErrorKind.BUDGET,
        message,
        engine=track.engine.name,
        model=track.engine.model,
        suggestion=suggestion,
    )
    error.track = track.name
    return error
