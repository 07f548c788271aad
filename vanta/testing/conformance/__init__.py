"""Conformance suites: what every engine, embedder, vector index and toolset must do.

    from vanta.testing import EngineConformance

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        async def engine(self):
            engine = MyEngine(...)
            yield engine
            await engine.aclose()

Each test runs on every event loop that anyio supports (asyncio, and trio if it is installed).

Invariant: a test needs nothing but the suite's fixture, which yields a fresh object that is not
loaded yet, and the hints, which a subclass sets where its object differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.testing.conformance.embedders import EmbedderConformance
    from vanta.testing.conformance.engines import EngineConformance
    from vanta.testing.conformance.hints import Hints, ask, read_stream
    from vanta.testing.conformance.indexes import IndexConformance
    from vanta.testing.conformance.toolsets import ToolsetConformance

__all__ = [
    "EmbedderConformance",
    "EngineConformance",
    "Hints",
    "IndexConformance",
    "ToolsetConformance",
    "ask",
    "read_stream",
]

_NAMES = {
    ".embedders": "EmbedderConformance",
    ".engines": "EngineConformance",
    ".hints": "Hints ask read_stream",
    ".indexes": "IndexConformance",
    ".toolsets": "ToolsetConformance",
}


__getattr__ = lazy_front(__name__, _NAMES)
