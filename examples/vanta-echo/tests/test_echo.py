"""The engine keeps vanta's contract: the conformance suite is vanta's, the engine is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from vanta_echo.engine import EchoEngine, EchoOptions

from vanta import Engine, EngineContext, ModelFile
from vanta.testing import EngineConformance, ask


def no_model(ref: str) -> ModelFile:
    """Fail: an echo needs no model file."""
    raise AssertionError(ref)


class TestEcho(EngineConformance):
    """Every rule of the contract."""

    long_request = ask(" ".join(f"word{number}" for number in range(60)), 120)

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        """Yield a fresh engine for each test."""
        engine = EchoEngine(EchoOptions(), EngineContext("echo", "words", None, no_model))
        yield engine
        await engine.aclose()
