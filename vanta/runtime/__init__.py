"""Runtimes, sessions and turns: everything that is open in a process.

A `Runtime` has sessions, a `Session` runs its turns one after another, and a turn resolves its
options into settings, races its legs and stores the exchange. Invariant: what opening opened,
closing closes, and cancelling a caller leaves session, memory and money consistent. Names are
imported on first use, since a runtime loads the database library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.runtime.background import in_quiet
    from vanta.runtime.bootstrap import (
        caps_of,
        fitted_gates,
        fitted_router,
        make_tracks,
        model_store,
        open_store,
        prompt_templates,
        template_folders,
    )
    from vanta.runtime.options import IsolatedTools, Isolation, TurnOptions
    from vanta.runtime.runtime import Runtime
    from vanta.runtime.session import Session
    from vanta.runtime.sync import (
        SyncLearnt,
        SyncLedger,
        SyncMemory,
        SyncParkedTurns,
        SyncRuntime,
        SyncSession,
        SyncTurn,
    )
    from vanta.runtime.turns.turn_stream import ShownText, TurnStream

_MODULES = {
    ".background": "in_quiet",
    ".bootstrap": (
        "caps_of fitted_gates fitted_router make_tracks model_store open_store prompt_templates "
        "template_folders"
    ),
    ".options": "IsolatedTools Isolation TurnOptions",
    ".runtime": "Runtime",
    ".session": "Session",
    ".sync": "SyncLearnt SyncLedger SyncMemory SyncParkedTurns SyncRuntime SyncSession SyncTurn",
    ".turns.turn_stream": "ShownText TurnStream",
}

__all__ = [
    "IsolatedTools",
    "Isolation",
    "Runtime",
    "Session",
    "ShownText",
    "SyncLearnt",
    "SyncLedger",
    "SyncMemory",
    "SyncParkedTurns",
    "SyncRuntime",
    "SyncSession",
    "SyncTurn",
    "TurnOptions",
    "TurnStream",
    "caps_of",
    "fitted_gates",
    "fitted_router",
    "in_quiet",
    "make_tracks",
    "model_store",
    "open_store",
    "prompt_templates",
    "template_folders",
]


__getattr__ = lazy_front(__name__, _MODULES)
