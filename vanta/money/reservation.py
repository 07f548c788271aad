"""A reservation: money that one leg may spend, set aside until the leg is settled."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from vanta.money.amounts import usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What was set aside for one leg.

    amount: nano-USD. held: False where no cap asks for anything to be set aside and the leg is
    only to be recorded. day: the UTC day that pays. expires_at: seconds since the epoch, when the
    money of a process that cannot be asked any more goes back.
    """

    user: str
    session: str
    turn: str
    track: str
    amount: int
    day: str
    expires_at: float
    held: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def usd(self) -> float:
        """The amount in US dollars."""
        return usd(self.amount)
