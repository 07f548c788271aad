"""The database of a runtime: transactions for the rooms that keep tables in it, and transcripts.

Invariant: an exchange and the record of its turn become durable together, or not at all. A name is
imported when it is first used, so that importing this package does not load SQLAlchemy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vanta.storage.database import Database
    from vanta.storage.default_database import sqlite_url
    from vanta.storage.transcripts import Store
    from vanta.storage.waiting import store_waits_until

_HOMES = {
    "Database": "vanta.storage.database",
    "Store": "vanta.storage.transcripts",
    "sqlite_url": "vanta.storage.default_database",
    "store_waits_until": "vanta.storage.waiting",
}

__all__ = ["Database", "Store", "sqlite_url", "store_waits_until"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
