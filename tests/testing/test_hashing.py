"""The hash embedder: texts that share words are similar, vectors are the same everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import numpy as np
import pytest

from vanta import plugin_loading as plugins
from vanta.errors import EmbedderError
from vanta.memory import EmbedderContext
from vanta.testing import EmbedderConformance, HashEmbedder, hash_plugin


class TestConformance(EmbedderConformance):
    """The conformance suite of embedders."""

    @pytest.fixture
    def embedder(self) -> HashEmbedder:
        """Return a fresh embedder."""
        return HashEmbedder()


@pytest.mark.anyio
async def test_texts_that_share_words_are_nearer_than_others() -> None:
    vectors = await HashEmbedder().embed(["My dog is called Bo", "the dog Bo barks", "red paint"])
    assert vectors[0] @ vectors[1] > 0.3 > vectors[0] @ vectors[2]
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)


@pytest.mark.anyio
async def test_a_text_without_words_is_a_row_of_zeros_and_no_texts_are_no_rows() -> None:
    embedder = HashEmbedder(16)
    assert not (await embedder.embed(["?!"])).any()
    assert (await embedder.embed([])).shape == (0, 16)


@pytest.mark.anyio
async def test_a_text_has_the_same_vector_in_every_process_and_beside_any_others() -> None:
    code = (
        "import anyio\nfrom vanta.testing import HashEmbedder\n"
        "print(anyio.run(HashEmbedder(8).embed, ['a red fox'])[0].tolist())"
    )
    done = await anyio.run_process([sys.executable, "-c", code], stderr=subprocess.STDOUT)
    alone = (await HashEmbedder(8).embed(["a red fox"]))[0]
    assert done.stdout.decode().strip() == str(alone.tolist())
    beside = await HashEmbedder(8).embed(
        [f"text {number}" for number in range(300)] + ["a red fox"]
    )
    assert (beside[-1] == alone).all()


@pytest.mark.anyio
async def test_it_waits_for_its_hook_and_records_its_texts() -> None:
    gate = anyio.Event()
    embedder = HashEmbedder(before=gate.wait)
    with anyio.move_on_after(0) as scope:
        await embedder.embed(["one"])
    assert scope.cancelled_caught
    gate.set()
    await embedder.embed(["two"])
    assert embedder.texts == ["one", "two"]


@pytest.mark.anyio
async def test_a_closed_embedder_refuses() -> None:
    embedder = HashEmbedder()
    await embedder.load()
    await embedder.aclose()
    await embedder.aclose()
    assert embedder.loaded
    assert embedder.closed
    with pytest.raises(EmbedderError, match="'hash' is closed"):
        await embedder.embed(["x"])


def test_the_plugin_has_the_embedder_under_its_name(tmp_path: Path) -> None:
    own = HashEmbedder(name="mine")
    context = EmbedderContext("", tmp_path, lambda _ref: pytest.fail("no model is needed"))
    found = plugins.load(strict=True, extra=[hash_plugin(own, rank=9)], entry_points=[]).embedders
    factory = found["mine"]
    assert factory.rank == 9
    assert factory.create(factory.options(), context) is own
    fresh = hash_plugin().vanta_embedders()
    (made,) = [factory.create(factory.options(dimension=32), context) for factory in fresh]
    assert made.fingerprint == "hash/32/1"
