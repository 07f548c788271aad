"""Tuning: replay recorded turns, search for a policy, fit the router and the gate.

Invariant: everything runs on recorded data; no command of this plugin opens a runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta import hookimpl

if TYPE_CHECKING:
    import typer

__all__ = ["vanta_commands"]


@hookimpl
def vanta_commands() -> dict[str, typer.Typer]:
    """Return the commands `route`, `gate`, `replay` and `tune`."""
    from vanta_tuning.commands import gate, replay, route, tune

    return {"route": route.app, "gate": gate.app, "replay": replay.app, "tune": tune.app}
