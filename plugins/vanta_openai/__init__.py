"""The `openai` engine and embedder: any server that speaks OpenAI's API, through the official SDK.

Invariant: importing this package, or asking it for what it brings, does not import the SDK; that
happens in a worker thread when the first engine loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vanta.engine import EngineFactory
    from vanta.memory.embedder import EmbedderFactory


@hookimpl
def vanta_engines() -> Iterable[EngineFactory]:
    """The one engine of this plugin."""
    from vanta_openai.factory import FACTORY

    return (FACTORY,)


@hookimpl
def vanta_embedders() -> Iterable[EmbedderFactory]:
    """The one embedder of this plugin."""
    from vanta_openai.factory import EMBEDDER

    return (EMBEDDER,)
