"""Tools, records and journals for the tests of the room."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vanta import Tool
from vanta.money import Owner
from vanta.storage import Store, sqlite_url
from vanta.tools import CallRecord, Journal, OfferedTool


def offer(qualified: str, *required: str, shown_as: str = "", **changes: Any) -> OfferedTool:
    """Return an offered tool `TOOLSET.TOOL` with string arguments."""
    toolset, _, name = qualified.rpartition(".")
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string"} for argument in required},
        "required": list(required),
    }
    tool = Tool(name, f"Does {name}.", parameters, **changes)
    return OfferedTool(toolset, tool, shown_as or name)


def record(**changes: Any) -> CallRecord:
    """Return a new record of a write call in ada's session."""
    call = {
        "turn": "t1",
        "user": "ada",
        "session": "s1",
        "call_id": "c1",
        "toolset": "files",
        "tool": "write",
        "effect": "write",
        "digest": "d" * 64,
        "arguments": '{"path": "docs/a"}',
        "private": False,
        **changes,
    }
    return CallRecord(**call)


@asynccontextmanager
async def open_journal(
    folder: Path, *, owner: Owner | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[Journal]:
    """Open a journal in `folder`; two journals there share their calls."""
    store = Store.open(sqlite_url(folder))
    journal = Journal(store, owner=owner, clock=clock)
    try:
        yield journal
    finally:
        await journal.aclose()
        await store.aclose()
