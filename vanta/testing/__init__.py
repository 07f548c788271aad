"""Real parts for tests: scripted engines, a server with faults, conformance suites, fixtures.

Invariant: importing this package loads neither pytest nor h11; each name is imported when it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.testing.conformance import (
        EmbedderConformance,
        EngineConformance,
        Hints,
        IndexConformance,
        ToolsetConformance,
        ask,
        read_stream,
    )
    from vanta.testing.hashing import HashEmbedder, hash_plugin
    from vanta.testing.load_meter import LoadMeter
    from vanta.testing.loop_guard import BlockingCall, LoopGuard
    from vanta.testing.scripted import Run, ScriptedEngine
    from vanta.testing.scripted_runtime import open_scripted, scripted_plugin
    from vanta.testing.steps import (
        CallTool,
        Fail,
        Finish,
        Hang,
        Pause,
        Say,
        Step,
        Think,
        Wait,
        Waitable,
        count_prompt,
        count_tokens,
        split_tokens,
    )
    from vanta.testing.upstream import Behaviour, HttpExchange, Upstream, nothing_listens

__all__ = [
    "Behaviour",
    "BlockingCall",
    "CallTool",
    "EmbedderConformance",
    "EngineConformance",
    "Fail",
    "Finish",
    "Hang",
    "HashEmbedder",
    "Hints",
    "HttpExchange",
    "IndexConformance",
    "LoadMeter",
    "LoopGuard",
    "Pause",
    "Run",
    "Say",
    "ScriptedEngine",
    "Step",
    "Think",
    "ToolsetConformance",
    "Upstream",
    "Wait",
    "Waitable",
    "ask",
    "count_prompt",
    "count_tokens",
    "hash_plugin",
    "nothing_listens",
    "open_scripted",
    "read_stream",
    "scripted_plugin",
    "split_tokens",
]

_NAMES = {
    ".conformance": (
        "EmbedderConformance EngineConformance Hints IndexConformance ToolsetConformance "
        "read_stream ask"
    ),
    ".hashing": "HashEmbedder hash_plugin",
    ".load_meter": "LoadMeter",
    ".loop_guard": "BlockingCall LoopGuard",
    ".scripted": "Run ScriptedEngine",
    ".scripted_runtime": "open_scripted scripted_plugin",
    ".steps": (
        "CallTool Fail Finish Hang Pause Say Step Think Wait Waitable count_prompt count_tokens "
        "split_tokens"
    ),
    ".upstream": "Behaviour HttpExchange Upstream nothing_listens",
}


__getattr__ = lazy_front(__name__, _NAMES)
