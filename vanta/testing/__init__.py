"""Real parts for tests: engines that follow a script, a server with faults, a conformance suite.

Invariant: importing this loads neither pytest nor h11; each name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vanta.testing.upstream import Behaviour, Exchange, Gate, Upstream, nothing_listens

_HOME = {
    "Behaviour": "upstream",
    "Exchange": "upstream",
    "Gate": "upstream",
    "Upstream": "upstream",
    "nothing_listens": "upstream",
}

__all__ = ["Behaviour", "Exchange", "Gate", "Upstream", "nothing_listens"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
