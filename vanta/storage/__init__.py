"""The database of a runtime: transactions for the rooms that keep tables in it, and transcripts.

Invariant: an exchange and the record of its turn become durable together, or not at all. A name is
imported when it is first used, so that importing this package does not load SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.storage.branches import Branch, BranchKind, Fork, TurnPlace
    from vanta.storage.database import Database
    from vanta.storage.default_database import sqlite_url
    from vanta.storage.session_rows import SessionInfo, SessionQuery
    from vanta.storage.transcripts import Store
    from vanta.storage.waiting import store_waits_until

_NAMES = {
    ".branches": "Branch BranchKind Fork TurnPlace",
    ".database": "Database",
    ".default_database": "sqlite_url",
    ".session_rows": "SessionInfo SessionQuery",
    ".transcripts": "Store",
    ".waiting": "store_waits_until",
}

__all__ = [
    "Branch",
    "BranchKind",
    "Database",
    "Fork",
    "SessionInfo",
    "SessionQuery",
    "Store",
    "TurnPlace",
    "sqlite_url",
    "store_waits_until",
]


__getattr__ = lazy_front(__name__, _NAMES)
