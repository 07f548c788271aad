"""The conformance suite of embedders.

    from vanta.testing import EmbedderConformance

    class TestMyEmbedder(EmbedderConformance):
        @pytest.fixture
        async def embedder(self):
            embedder = MyEmbedder(...)
            yield embedder
            await embedder.aclose()

Invariant: a test needs nothing but the `embedder` fixture, which yields a fresh embedder that is
not loaded yet, and the hints.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from typing import ClassVar

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from vanta.errors import EmbedderError
from vanta.memory import Embedder

TEXTS = (
    "My dog is called Bo and he is afraid of thunder.",
    "The rent is due on the first of the month.",
    "Rent!",
    "She moved to Lisbon, where her sister lives, and found work in a bakery. " * 4,
    "My dog is called Bo and he is afraid of thunder.",
)
ODD = (
    "",
    " \n\t ",
    "?!.,",
    "日本語のテキスト",
    "🙂🙃 👩‍👩‍👧",
    "nul \x00 and half a pair \ud83d",
    "<|endoftext|> [SEP] </s>",
    "x" * 5_000,
)


class EmbedderConformance:
    """Derive from it, define an `embedder` fixture, and set the hints that differ.

    :cvar related: two similar texts, and one that is not similar to the first; None for a model
        whose vectors have no meaning.
    :cvar tolerance: largest difference of a component between batches.
    :cvar patience_s: seconds that no step may take.
    """

    pytestmark = pytest.mark.anyio

    related: ClassVar[tuple[str, str, str] | None] = (
        "My dog is called Bo.",
        "What is the name of my dog?",
        "The rent is due on Friday.",
    )
    tolerance: ClassVar[float] = 1e-4
    patience_s: ClassVar[float] = 60.0

    async def test_a_text_has_one_row_of_length_one(self, embedder: Embedder) -> None:
        """Float32, in the order of the texts, with `dimension` components."""
        await embedder.load()
        vectors = await embedder.embed(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
        assert np.allclose(vectors[0], vectors[-1], atol=self.tolerance), "the same text differs"
        assert not np.allclose(vectors[0], vectors[1], atol=0.01), "other texts do not differ"

    async def test_no_texts_give_no_rows(self, embedder: Embedder) -> None:
        """The result for no texts has the same shape otherwise."""
        await embedder.load()
        assert (await embedder.embed([])).shape == (0, embedder.dimension)

    async def test_a_vector_depends_on_its_text_only(self, embedder: Embedder) -> None:
        """It does not depend on other texts or their order."""
        await embedder.load()
        together = await embedder.embed(TEXTS)
        backwards = (await embedder.embed(TEXTS[::-1]))[::-1]
        alone = [(await embedder.embed([text]))[0] for text in TEXTS]
        assert np.allclose(together, backwards, atol=self.tolerance)
        assert np.allclose(together, alone, atol=self.tolerance)

    async def test_related_texts_are_nearer_than_others(self, embedder: Embedder) -> None:
        """A related text has a higher cosine than an unrelated one."""
        if self.related is None:
            pytest.skip("related is None")
        await embedder.load()
        text, near, far = await embedder.embed(self.related)
        assert text @ near > text @ far

    async def test_odd_texts_are_embedded(self, embedder: Embedder) -> None:
        """Each has a row of length 1, or of zeros for a text without words."""
        await embedder.load()
        vectors = await embedder.embed(ODD)
        assert np.isfinite(vectors).all()
        for length in np.linalg.norm(vectors, axis=1):
            assert length == pytest.approx(1, abs=1e-3) or length == 0

    async def test_a_long_text_is_embedded_by_its_beginning(self, embedder: Embedder) -> None:
        """It is not refused, and its end has no influence."""
        await embedder.load()
        long = "The rent is due on the first of the month. " * 3_000
        first, second = await embedder.embed([long, f"{long} My dog is called Bo."])
        assert np.allclose(first, second, atol=self.tolerance)

    async def test_the_fingerprint_has_name_dimension_and_revision(
        self, embedder: Embedder
    ) -> None:
        """Name, dimension and revision, unchanged by use."""
        await embedder.load()
        first = embedder.fingerprint
        await embedder.load()
        await embedder.embed(TEXTS)
        assert first == f"{embedder.name}/{embedder.dimension}/{embedder.revision}"
        assert embedder.name
        assert embedder.revision
        assert embedder.fingerprint == first

    async def test_concurrent_callers_get_their_own_vectors(self, embedder: Embedder) -> None:
        """Each caller gets the vectors of its own texts; the first ones wait for one load."""
        vectors: dict[str, object] = {}

        async def ask(text: str) -> None:
            await embedder.load()
            vectors[text] = (await embedder.embed([text]))[0]

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as tasks:
                for text in TEXTS[:4]:
                    tasks.start_soon(ask, text)
            expected = await embedder.embed(TEXTS[:4])
        for text, vector in zip(TEXTS, expected, strict=False):
            assert np.allclose(np.asarray(vectors[text]), vector, atol=self.tolerance)

    async def test_a_cancelled_caller_leaves_the_embedder_usable(self, embedder: Embedder) -> None:
        """No lock is held, and results are not mixed up."""
        await embedder.load()
        expected = await embedder.embed(TEXTS[:2])
        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(embedder.embed, TEXTS * 50)
                tasks.start_soon(embedder.load)
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            again = await embedder.embed(TEXTS[:2])
        assert np.allclose(again, expected, atol=self.tolerance)

    async def test_closing_is_final(self, embedder: Embedder) -> None:
        """Closing twice is fine, and later calls raise EmbedderError."""
        await embedder.load()
        await embedder.aclose()
        await embedder.aclose()
        with pytest.raises(EmbedderError):
            await embedder.embed(["x"])
        with pytest.raises(EmbedderError):
            await embedder.load()

    async def test_it_can_be_closed_before_it_is_loaded(self, embedder: Embedder) -> None:
        """Closing an embedder that was never loaded is fine."""
        await embedder.aclose()
        with pytest.raises(EmbedderError):
            await embedder.embed(["x"])

    @pytest.mark.usefixtures("no_blocking")
    async def test_nothing_blocks_the_event_loop(self, embedder: Embedder) -> None:
        """Neither loading nor embedding blocks it."""
        await embedder.load()
        await embedder.embed(TEXTS * 4)
