"""Test the contract of all engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.llamacpp.support import engine_on
from vanta.engine import Engine
from vanta.testing import EngineConformance


class TestLlamaCpp(EngineConformance):
    """On the real small model."""

    max_tokens_after_stop = 1

    @pytest.fixture
    async def engine(self, smollm2_path: Path) -> AsyncIterator[Engine]:
        """Yield a new engine, not loaded yet."""
        engine = engine_on(smollm2_path)
        yield engine
        await engine.aclose()
