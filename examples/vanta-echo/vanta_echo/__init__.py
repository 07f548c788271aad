"""A plugin for vanta: the engine `echo`, the policy `local-or-echo`, the template `system/parrot`.

Invariant: importing it is cheap, for that happens whenever a runtime opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import vanta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vanta.engine import EngineFactory
    from vanta.scheduling import Policy


@vanta.hookimpl
def vanta_engines() -> Iterable[EngineFactory]:
    """The one engine."""
    from vanta_echo.engine import FACTORY

    return [FACTORY]


@vanta.hookimpl
def vanta_policies() -> Iterable[Policy]:
    """The local track alone; if it fails or is off, the echo answers."""
    from vanta.scheduling import LegPlan, Policy

    legs = (LegPlan("local"), LegPlan("echo", start_after_s=None))
    return [Policy("local-or-echo", "local; the echo answers where that fails", legs)]


@vanta.hookimpl
def vanta_templates() -> Iterable[Path]:
    """The folder beside this file."""
    return [Path(__file__).parent / "templates"]
