"""Vectors from GGUF files: real weights, random ones, and files without an embedding model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from tests.embedders.bert_gguf import write_minilm_gguf
from tests.embedders.test_minilm import TEXTS, VECTORS
from tests.llamacpp.random_model import write_random_model
from vanta.engine import ModelFile
from vanta.errors import EmbedderError
from vanta.memory import Embedder, EmbedderContext, EmbedderFactory
from vanta.models import ModelStore
from vanta.testing import EmbedderConformance
from vanta_llamacpp import vanta_embedders
from vanta_llamacpp.embedder import digest_of, truncate
from vanta_llamacpp.options import LlamaCppEmbedderOptions

(FACTORY,) = vanta_embedders()
assert isinstance(FACTORY, EmbedderFactory)
MEAN = 1


@pytest.fixture(scope="session")
def minilm_gguf(minilm_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 as a GGUF file."""
    path = tmp_path_factory.mktemp("gguf") / "minilm.gguf"
    return write_minilm_gguf(path, minilm_path)


def context_of(model: str, folder: Path) -> EmbedderContext:
    return EmbedderContext(model, folder, ModelStore(folder, {}).find)


def embedder_on(path: Path, **options: Any) -> Embedder:
    chosen = {"threads": 1} | options
    return FACTORY.create(LlamaCppEmbedderOptions(**chosen), context_of(str(path), path.parent))


@pytest.fixture
async def minilm(minilm_gguf: Path) -> AsyncIterator[Embedder]:
    """An embedder on the real weights."""
    embedder = embedder_on(minilm_gguf)
    yield embedder
    await embedder.aclose()


class TestConformance(EmbedderConformance):
    """A real embedding model with bidirectional attention."""

    tolerance = 1e-3

    @pytest.fixture
    async def embedder(self, minilm_gguf: Path) -> AsyncIterator[Embedder]:
        """A new embedder."""
        embedder = embedder_on(minilm_gguf)
        yield embedder
        await embedder.aclose()


@pytest.fixture(scope="session")
def decoder_gguf(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generating model whose file declares mean pooling."""
    path = tmp_path_factory.mktemp("gguf") / "pooled.gguf"
    return write_random_model(path, smollm2_path, pooling=MEAN)


class TestConformanceOfADecoder(EmbedderConformance):
    """Random weights of four bits: batches of different sizes round differently."""

    related = None
    tolerance = 0.02

    @pytest.fixture
    async def embedder(self, decoder_gguf: Path) -> AsyncIterator[Embedder]:
        """A new embedder."""
        embedder = embedder_on(decoder_gguf)
        yield embedder
        await embedder.aclose()


@pytest.mark.anyio
async def test_real_weights_yield_the_vectors_of_the_reference(minilm: Embedder) -> None:
    plain = [row for row, text in enumerate(TEXTS) if text.strip() and "[" not in text]
    short = [row for row in plain if len(TEXTS[row]) < 400 and "super" not in TEXTS[row]]
    await minilm.load()
    vectors = await minilm.embed([TEXTS[row] for row in short])
    assert len(short) > 12
    assert (vectors * VECTORS[short]).sum(axis=1).min() > 0.9999
    assert minilm.dimension == 384


@pytest.mark.anyio
async def test_a_model_is_identified_by_its_content(
    minilm: Embedder, minilm_gguf: Path, smollm2_path: Path, tmp_path: Path
) -> None:
    await minilm.load()
    assert minilm.revision == digest_of(ModelFile("other name", minilm_gguf))
    seeds = [
        write_random_model(tmp_path / f"{seed}.gguf", smollm2_path, seed=seed, pooling=MEAN)
        for seed in (1, 2)
    ]
    assert len({digest_of(ModelFile("same name", path)) for path in seeds}) == 2
    known = ModelFile("x", minilm_gguf, {"sha256": "0123456789abcdef" * 4})
    assert digest_of(known) == "0123456789ab"


@pytest.mark.anyio
async def test_a_model_without_pooling_says_what_to_use(smollm2_path: Path) -> None:
    embedder = embedder_on(smollm2_path)
    with pytest.raises(
        EmbedderError, match=r"declares no pooling.*Use a file of an embedding model"
    ):
        await embedder.load()
    await embedder.aclose()


@pytest.mark.anyio
async def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    embedder = embedder_on(tmp_path / "no.gguf")
    with pytest.raises(EmbedderError, match=r"'llamacpp': the model file .* does not exist"):
        await embedder.load()
    with pytest.raises(EmbedderError, match="not loaded yet"):
        _ = embedder.dimension
    await embedder.aclose()


def test_it_is_off_until_a_gguf_file_is_named(minilm_gguf: Path, minilm_path: Path) -> None:
    def off(model: str) -> str:
        return FACTORY.off(LlamaCppEmbedderOptions(), context_of(model, minilm_gguf.parent)) or ""

    assert "set memory.embedder_model" in off("")
    assert "is not a GGUF file" in off(str(minilm_path))
    assert "/no/such.gguf' does not exist" in off("/no/such.gguf")
    assert off(str(minilm_gguf)) == ""
    assert 0 < FACTORY.rank < 100


@pytest.mark.anyio
async def test_a_cancelled_embedding_leaves_the_worker_free(minilm: Embedder) -> None:
    await minilm.load()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(minilm.embed, TEXTS[:3] * 500)
        await minilm.embed(["a question that comes meanwhile is answered"])
        tasks.cancel_scope.cancel()
    assert np.isfinite(await minilm.embed(["x"])).all()


@pytest.mark.parametrize(
    ("tokens", "around", "expected"),
    [
        ([1, 5, 6, 7, 2], [1, 2], [1, 5, 2]),
        ([5, 6, 7, 2], [2], [5, 6, 2]),
        ([1, 5, 6, 7], [1], [1, 5, 6]),
        ([5, 6, 7, 8], [], [5, 6, 7]),
        ([1, 5, 2], [1, 2], [1, 5, 2]),
    ],
)
def test_a_truncated_text_keeps_the_models_end_tokens(
    tokens: list[int], around: list[int], expected: list[int]
) -> None:
    assert truncate(tokens, 3, around) == expected
