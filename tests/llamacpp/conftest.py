"""Engines on the real small model: one shared by all tests, and fresh ones on demand."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import MakeEngine, engine_on
from vanta_llamacpp.engine import LlamaCppEngine


@pytest.fixture(scope="session")
def shared_engine(smollm2_path: Path) -> Iterator[LlamaCppEngine]:
    """Loaded once; an engine may be used from one event loop after another."""
    engine = engine_on(smollm2_path)
    yield engine
    anyio.run(engine.aclose)


@pytest.fixture
def make_engine(smollm2_path: Path) -> Iterator[MakeEngine]:
    """Makes engines that are closed with the test."""
    made: list[LlamaCppEngine] = []

    def make(*, path: Path = smollm2_path, **options: Any) -> LlamaCppEngine:
        made.append(engine_on(path, **options))
        return made[-1]

    yield functools.partial(make)
    for engine in made:
        anyio.run(engine.aclose)


@pytest.fixture(scope="session")
def random_path(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights, whose answers are chaos."""
    return write_random_model(tmp_path_factory.mktemp("models") / "random.gguf", smollm2_path)


@pytest.fixture
def tiny(make_engine: MakeEngine, random_path: Path) -> MakeEngine:
    """Makes engines on the tiny model; one thread, so that lone steps are exact as well."""
    return functools.partial(make_engine, path=random_path, threads=1)
