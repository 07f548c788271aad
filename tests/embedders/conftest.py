"""The real weights, downloaded once if necessary, and embedders on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from vanta.memory import Embedder, EmbedderContext, EmbedderFactory
from vanta.models import ModelStore, default_root
from vanta_embedders import vanta_embedders

Make = Callable[..., Embedder]


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    """The weights of all-MiniLM-L6-v2; their tokenizer is beside them."""
    return ModelStore(default_root()).pull("all-minilm-l6-v2").path


@pytest.fixture
def context(minilm_path: Path, tmp_path: Path) -> EmbedderContext:
    """The context that memory would pass, with a data folder of the test's own."""
    return EmbedderContext("", tmp_path / "data", ModelStore(default_root()).find)


@pytest.fixture(scope="session")
def table_path(minilm_path: Path) -> Path:
    """The static table, made once on this machine: that takes half a minute."""
    folder = default_root().parent / "memory" / "embedders"
    context = EmbedderContext("", folder, ModelStore(default_root()).find)
    embedder = factory("static").create(factory("static").options(), context)
    anyio.run(embedder.load)
    (path,) = (context.data_dir / "static").glob("table-1-53aa51172d14-256.f16")
    return path


@pytest.fixture
def make(context: EmbedderContext) -> Make:
    """Create an embedder by its name, with options."""

    def create(name: str, context: EmbedderContext = context, **options: Any) -> Embedder:
        chosen = factory(name)
        return chosen.create(chosen.options.model_validate(options), context)

    return create


def factory(name: str) -> EmbedderFactory:
    """Return this plugin's factory of that name."""
    return {item.name: item for item in vanta_embedders()}[name]
