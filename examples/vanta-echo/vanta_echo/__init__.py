"""A plugin for vanta: the engine `echo`, the policy `local-or-echo`, the template `system/parrot`.

Invariant: importing it is cheap, because that happens whenever a runtime opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import vanta

if TYPE_CHECKING:
    from collections.abc import Iterable


@vanta.hookimpl
def vanta_engines() -> Iterable[vanta.EngineFactory]:
    """Return the one engine."""
    from vanta_echo.engine import FACTORY

    return [FACTORY]


@vanta.hookimpl
def vanta_policies() -> Iterable[vanta.Policy]:
    """Return a policy in which the local track answers, or the echo if it fails or is off."""
    legs = (vanta.LegPlan("local"), vanta.LegPlan("echo", start_after_s=None))
    return [vanta.Policy("local-or-echo", "local; the echo answers if local fails", legs)]


@vanta.hookimpl
def vanta_templates() -> Iterable[Path]:
    """Return the folder beside this file."""
    return [Path(__file__).parent / "templates"]
