"""vanta: an assistant runtime to embed.

Every turn of a conversation is answered by a fast local track and an API track at once; a
scheduler races them under a policy and keeps each turn inside its deadline, its money and its
privacy rule. Begin with `vanta.open`. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.errors import (
        AllTracksFailed,
        ConfigError,
        EngineError,
        NoTrack,
        RunError,
        StoreError,
        UnknownName,
        UsageError,
        VantaError,
    )
    from vanta.events import Event, Reply, TextDelta, TurnFinished
    from vanta.runtime import Runtime, open  # noqa: A004 - `vanta.open` is its name
    from vanta.session import Session
    from vanta.sync import SyncRuntime, ask

__version__ = "0.1.0"

_HOMES = {
    "AllTracksFailed": "vanta.errors",
    "ConfigError": "vanta.errors",
    "EngineError": "vanta.errors",
    "Event": "vanta.events",
    "NoTrack": "vanta.errors",
    "Reply": "vanta.events",
    "RunError": "vanta.errors",
    "Runtime": "vanta.runtime",
    "Session": "vanta.session",
    "StoreError": "vanta.errors",
    "SyncRuntime": "vanta.sync",
    "TextDelta": "vanta.events",
    "TurnFinished": "vanta.events",
    "UnknownName": "vanta.errors",
    "UsageError": "vanta.errors",
    "VantaError": "vanta.errors",
    "ask": "vanta.sync",
    "open": "vanta.runtime",
}

__all__ = [
    "AllTracksFailed",
    "ConfigError",
    "EngineError",
    "Event",
    "NoTrack",
    "Reply",
    "RunError",
    "Runtime",
    "Session",
    "StoreError",
    "SyncRuntime",
    "TextDelta",
    "TurnFinished",
    "UnknownName",
    "UsageError",
    "VantaError",
    "ask",
    "hookimpl",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vanta' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
