"""Open ledgers on a store and read their totals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vanta.money import Caps, Ledger, Reservation
from vanta.money.reservation import Owner
from vanta.storage import Store, sqlite_url

OTHER_HOST = Owner("elsewhere", "1:1")


@asynccontextmanager
async def open_ledger(
    folder: Path,
    *,
    caps: Caps | None = None,
    owner: Owner | None = None,
    clock: Callable[[], float] = time.time,
    store: Store | None = None,
    **limits: float,
) -> AsyncIterator[Ledger]:
    """Open a ledger in `folder`; two ledgers there share their money. limits: single caps."""
    store = store or Store.open(sqlite_url(folder))
    ledger = Ledger.open(store, caps or Caps(**limits), owner=owner, clock=clock)
    try:
        yield ledger
    finally:
        await ledger.aclose()
        await store.aclose()


async def reserve(ledger: Ledger, usd: float, **changes: Any) -> Reservation:
    """Reserve for ada's first turn, with the given changes."""
    payer = {"user": "ada", "session": "s", "turn": "t", "track": "api", **changes}
    return await ledger.reserve(usd=usd, **payer)


async def totals(ledger: Ledger) -> tuple[float, float]:
    """Return the totals of spent and reserved money, in US dollars."""
    total = (await ledger.spending()).total
    return total.spent_usd, total.reserved_usd
