"""The conformance suite: what every engine must do, ours or a stranger's.

    from vanta.testing import EngineConformance

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        async def engine(self):
            engine = MyEngine(...)
            yield engine
            await engine.aclose()

The suite runs each test on every event loop that anyio knows of (asyncio, and trio if installed).
Invariant: a test needs nothing but the `engine` fixture, which gives a fresh engine that was not
loaded yet, and the hints of `Hints`, which a subclass sets where its engine differs.
"""

from __future__ import annotations

import pytest

from vanta.testing.conformance.answers import AnswerTests
from vanta.testing.conformance.hints import Hints
from vanta.testing.conformance.manners import MannersTests
from vanta.testing.conformance.shapes import ShapeTests
from vanta.testing.conformance.stopping import StoppingTests

__all__ = ["EngineConformance", "Hints"]


class EngineConformance(AnswerTests, ShapeTests, StoppingTests, MannersTests):
    """Subclass it, give an `engine` fixture, and set the hints that differ."""

    pytestmark = pytest.mark.anyio
