"""The last scene of the demo: both tracks want the same call, and it runs once.

A model as small as the demo's asks for a call too rarely to show this, so both tracks follow a
script here. The race, the rules for calls and the tool are real.

Invariant: the tool itself counts how often it ran, so the number does not depend on what vanta
records.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vanta.engine import Engine, GenerationRequest
    from vanta.runtime import SyncRuntime

POLICY = "equal-calls"
_LOCAL_S, _API_S = 0.1, 0.35
"""Seconds before each track asks for the call; the preferred one is the later one."""


@dataclass(slots=True)
class ToolRuns:
    """How often the tool of the scene ran."""

    count: int = 0


@contextmanager
def open_scene() -> Iterator[tuple[SyncRuntime, ToolRuns]]:
    """Open a runtime with two scripted tracks and the tool; nothing of it is kept."""
    import vanta
    from vanta.testing import scripted_plugin

    runs = ToolRuns()

    @vanta.tool(effect="read")
    def now(zone: Literal["UTC"]) -> str:
        """Return the present time in a time zone."""
        runs.count += 1
        return f"{datetime.now(UTC):%H:%M} in {zone}"

    with tempfile.TemporaryDirectory(prefix="vanta-demo-") as folder:
        track: dict[str, Any] = {"engine": "scripted", "model": "a script"}
        config = {
            "data_dir": folder,
            "memory": {"enabled": False},
            "tracks": {"local": track, "api": track},
            # Held long enough that both tracks ask before one of them is chosen.
            "policies": {POLICY: {"base": "prefer", "hold_s": 30.0}},
        }
        # The same arguments, spelled differently: calls are compared by what they mean.
        spaced, dense = '{ "zone": "UTC" }', '{"zone":"UTC"}'
        plugin = scripted_plugin(local=_script(_LOCAL_S, spaced), api=_script(_API_S, dense))
        with vanta.open(config, plugins=[plugin], own_tools=[now]) as runtime:
            yield runtime, runs


def _script(after_s: float, arguments: str) -> Engine:
    """Return a track that asks for the call after `after_s` seconds, and then says the time."""
    from vanta.testing import CallTool, Pause, ScriptedEngine

    def reply(request: GenerationRequest) -> list[Any]:
        last = request.messages[-1]
        if last.role != "tool":
            return [Pause(after_s), CallTool("now", arguments)]
        time = next((line for line in last.content.splitlines() if ":" in line), "unknown")
        return [Pause(after_s / 2), "It is ", f"{time}."]

    return ScriptedEngine(reply=reply)
