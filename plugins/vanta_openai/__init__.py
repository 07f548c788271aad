"""The `openai` engine: any server that speaks OpenAI's chat completions, through the official SDK.

Invariant: importing this package, or asking it for its engines, does not import the SDK; that
happens in a worker thread when the first engine loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vanta.engine import EngineFactory


@hookimpl
def vanta_engines() -> Iterable[EngineFactory]:
    """The one engine of this plugin."""
    from vanta_openai.factory import FACTORY

    return (FACTORY,)
