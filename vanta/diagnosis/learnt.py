"""The check of what running processes have learnt about tracks, and believe for a while.

Invariant: a database that does not exist is not created.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from vanta.check import DiagnosisContext, Finding
from vanta.errors import StoreError
from vanta.storage import Store, sqlite_url
from vanta.storage.default_database import FILE_NAME
from vanta.storage.learnt_board import LearntBoard

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.learning import Learnt

NAME = "learnt"
FORGET = "vanta learnt forget"


async def learnt(context: DiagnosisContext) -> Finding:
    """Return what limits a track because of earlier answers of its server."""
    try:
        if not await anyio.to_thread.run_sync(partial(_exists, context.config)):
            return Finding(NAME, True, "nothing: no database yet")
        store, board = await open_board(context.config)
    except StoreError as error:
        return Finding(NAME, None, str(error))
    try:
        facts = await board.read()
    finally:
        await store.aclose()
    if not facts:
        return Finding(NAME, True, "nothing: no answer of a server limits a track")
    return Finding(NAME, None, "; ".join(map(sentence, facts)), FORGET)


def sentence(fact: Learnt) -> str:
    """Return a fact as a clause for a person."""
    left_s = fact.left_s
    left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
    return f"track {fact.track!r}: {fact.detail} (believed for another {left})"


async def open_board(config: Config) -> tuple[Store, LearntBoard]:
    """Return the board of a configuration's database, and the store to close afterwards.

    :raises StoreError: if the database cannot be opened.
    """
    store = await anyio.to_thread.run_sync(partial(_open, config))
    return store, LearntBoard(store)


def _open(config: Config) -> Store:
    return Store.open(config.store_url or sqlite_url(config.data_dir))


def _exists(config: Config) -> bool:
    """Return whether there may be a database; one at a URL may be anywhere."""
    return bool(config.store_url) or (config.data_dir / FILE_NAME).exists()
