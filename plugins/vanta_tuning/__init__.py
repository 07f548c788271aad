"""Tuning: replay recorded turns, search for a policy, fit the router and the gate.

Invariant: everything runs on recorded data; no command of this plugin opens a runtime.
"""

from __future__ import annotations

from vanta import hookimpl
from vanta.cli import Command

__all__ = ["vanta_commands"]


@hookimpl
def vanta_commands() -> dict[str, Command]:
    """Return the commands `route`, `gate`, `replay` and `tune`."""
    return {
        "route": Command("Fit the router and ask it why.", "vanta_tuning.commands.route:app"),
        "gate": Command(
            "Fit the gate that judges finished answers.", "vanta_tuning.commands.gate:app"
        ),
        "replay": Command(
            "Try policies on recorded turns, on a virtual clock.",
            "vanta_tuning.commands.replay:app",
        ),
        "tune": Command(
            "Find the policy and its knobs for limits on cost and time.",
            "vanta_tuning.commands.tune:app",
        ),
    }
