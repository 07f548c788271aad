"""A plugin for vanta: the toolset `weather`.

Invariant: importing it is cheap, because that happens whenever a runtime opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import vanta

if TYPE_CHECKING:
    from collections.abc import Iterable


@vanta.hookimpl
def vanta_toolsets() -> Iterable[vanta.ToolsetFactory]:
    """Return the one toolset."""
    from vanta_weather.toolset import FACTORY

    return [FACTORY]
