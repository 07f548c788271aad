"""A ledger on a store of its own, and a look at what it holds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vanta.money import Caps, Ledger, Reservation
from vanta.money.owner import Owner
from vanta.storage import Store, sqlite_url

OTHER_HOST = Owner("elsewhere", "1:1")


@asynccontextmanager
async def open_ledger(
    folder: Path,
    *,
    caps: Caps | None = None,
    owner: Owner | None = None,
    clock: Callable[[], float] = time.time,
    **limits: float,
) -> AsyncIterator[Ledger]:
    """A ledger in `folder`; two of them there share their money. limits: the caps, one by one."""
    store = Store.open(sqlite_url(folder))
    ledger = Ledger.open(store, caps or Caps(**limits), owner=owner, clock=clock)
    try:
        yield ledger
    finally:
        await ledger.aclose()
        await store.aclose()


async def reserve(ledger: Ledger, usd: float, **changes: Any) -> Reservation:
    """Reserve for ada's first turn, unless told otherwise."""
    whose = {"user": "ada", "session": "s", "turn": "t", "track": "api", **changes}
    return await ledger.reserve(usd=usd, **whose)


async def totals(ledger: Ledger) -> tuple[float, float]:
    """All that is spent and all that is reserved, in US dollars."""
    total = (await ledger.spending()).total
    return total.spent_usd, total.reserved_usd
