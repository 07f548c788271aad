"""The real weights, fetched once if need be, and embedders on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from vanta.memory.embedder import Embedder, EmbedderContext, EmbedderFactory
from vanta.models import ModelStore, default_root
from vanta_embedders.factory import FACTORIES

Make = Callable[..., Embedder]


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    """The weights of all-MiniLM-L6-v2; their tokenizer lies beside them."""
    return ModelStore(default_root()).pull("all-minilm-l6-v2").path


@pytest.fixture
def context(minilm_path: Path, tmp_path: Path) -> EmbedderContext:
    """What memory would give, with a data folder of its own."""
    return EmbedderContext("", tmp_path / "data", ModelStore(default_root()).find)


@pytest.fixture(scope="session")
def table_path(minilm_path: Path) -> Path:
    """The static table, made once on this machine: it takes half a minute of computing."""
    folder = default_root().parent / "memory" / "embedders"
    context = EmbedderContext("", folder, ModelStore(default_root()).find)
    embedder = factory("static").create(factory("static").options(), context)
    anyio.run(embedder.load)
    (path,) = (context.data_dir / "static").glob("table-1-53aa51172d14-256.f16")
    return path


@pytest.fixture
def make(context: EmbedderContext) -> Make:
    """Makes an embedder by its name, with options."""

    def made(name: str, context: EmbedderContext = context, **options: Any) -> Embedder:
        found = factory(name)
        return found.create(found.options.model_validate(options), context)

    return made


def factory(name: str) -> EmbedderFactory:
    """This plugin's factory of that name."""
    return {found.name: found for found in FACTORIES}[name]
