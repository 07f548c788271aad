"""Real parts for tests: engines that follow a script, a server with faults, a conformance suite.

Invariant: importing this loads neither pytest nor h11; each name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vanta.testing.conformance import EngineConformance
    from vanta.testing.conformance.embedders import EmbedderConformance
    from vanta.testing.conformance.indexes import IndexConformance
    from vanta.testing.hashing import HashEmbedder, hash_plugin
    from vanta.testing.loop_guard import BlockingCall, LoopGuard
    from vanta.testing.scripted import Run, ScriptedEngine, scripted_plugin
    from vanta.testing.steps import Call, Fail, Finish, Hang, Pause, Say, Step, Think, Wait
    from vanta.testing.upstream import Behaviour, Exchange, Gate, Upstream, nothing_listens

_HOME = {
    "conformance": ("EngineConformance",),
    "conformance.embedders": ("EmbedderConformance",),
    "conformance.indexes": ("IndexConformance",),
    "hashing": ("HashEmbedder", "hash_plugin"),
    "loop_guard": ("BlockingCall", "LoopGuard"),
    "scripted": ("Run", "ScriptedEngine", "scripted_plugin"),
    "steps": ("Call", "Fail", "Finish", "Hang", "Pause", "Say", "Step", "Think", "Wait"),
    "upstream": ("Behaviour", "Exchange", "Gate", "Upstream", "nothing_listens"),
}

__all__ = [
    "Behaviour",
    "BlockingCall",
    "Call",
    "EmbedderConformance",
    "EngineConformance",
    "Exchange",
    "Fail",
    "Finish",
    "Gate",
    "Hang",
    "HashEmbedder",
    "IndexConformance",
    "LoopGuard",
    "Pause",
    "Run",
    "Say",
    "ScriptedEngine",
    "Step",
    "Think",
    "Upstream",
    "Wait",
    "hash_plugin",
    "nothing_listens",
    "scripted_plugin",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
