"""The engine keeps vanta's contract: the suite is vanta's, the engine is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from vanta_echo.engine import EchoEngine, EchoOptions

from vanta.engine import Engine, EngineContext, ModelFile
from vanta.testing import EngineConformance, ask


def no_model(ref: str) -> ModelFile:
    """An echo needs no file."""
    raise AssertionError(ref)


class TestEcho(EngineConformance):
    """Every rule of the contract."""

    long_request = ask(" ".join(f"word{number}" for number in range(60)), 120)

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        """A fresh engine for each test."""
        engine = EchoEngine(EchoOptions(), EngineContext("echo", "words", None, no_model))
        yield engine
        await engine.aclose()
