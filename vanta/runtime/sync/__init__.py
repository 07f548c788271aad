"""The synchronous facade: a runtime for programs without an event loop.

One background thread runs the event loop; every call waits for its result there. Invariant: the
facade has the parameters, types and errors of the asynchronous classes and adds no behaviour.
"""

from __future__ import annotations

from vanta.runtime.sync.calls import Calls
from vanta.runtime.sync.conversation import SyncSession, SyncTurn
from vanta.runtime.sync.parts import SyncLearnt, SyncLedger, SyncMemory, SyncParkedTurns
from vanta.runtime.sync.runtime import SyncRuntime

__all__ = [
    "Calls",
    "SyncLearnt",
    "SyncLedger",
    "SyncMemory",
    "SyncParkedTurns",
    "SyncRuntime",
    "SyncSession",
    "SyncTurn",
]
