"""The conformance suite of embedders: what every one must do, ours or a stranger's.

    from vanta.testing import EmbedderConformance

    class TestMyEmbedder(EmbedderConformance):
        @pytest.fixture
        async def embedder(self):
            embedder = MyEmbedder(...)
            yield embedder
            await embedder.aclose()

Invariant: a test needs nothing but the `embedder` fixture, which gives a fresh embedder that was
not loaded yet, and the hints, which choose texts and say what may be left out.
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
    """Subclass it, give an `embedder` fixture, and set the hints that differ.

    related: two texts that are near each other, and one that is not near the first; None for a
    model whose vectors mean nothing. tolerance: how far the components of a text's vector may be
    from those that it has beside other texts. patience_s: what no step may take.
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
        """Float32, in the order of the texts, as long as `dimension` says."""
        await embedder.load()
        vectors = await embedder.embed(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
        assert np.allclose(vectors[0], vectors[-1], atol=self.tolerance), "the same text differs"
        assert not np.allclose(vectors[0], vectors[1], atol=0.01), "other texts do not differ"

    async def test_no_text_has_no_row(self, embedder: Embedder) -> None:
        """Not even then is the shape another one."""
        await embedder.load()
        assert (await embedder.embed([])).shape == (0, embedder.dimension)

    async def test_a_vector_is_its_texts_alone(self, embedder: Embedder) -> None:
        """Whatever else was embedded beside it, and in which order."""
        await embedder.load()
        together = await embedder.embed(TEXTS)
        backwards = (await embedder.embed(TEXTS[::-1]))[::-1]
        alone = [(await embedder.embed([text]))[0] for text in TEXTS]
        assert np.allclose(together, backwards, atol=self.tolerance)
        assert np.allclose(together, alone, atol=self.tolerance)

    async def test_what_is_related_is_near(self, embedder: Embedder) -> None:
        """Nearer than what is not."""
        if self.related is None:
            pytest.skip("related is None")
        await embedder.load()
        one, near, far = await embedder.embed(self.related)
        assert one @ near > one @ far

    async def test_odd_texts_are_texts(self, embedder: Embedder) -> None:
        """A row of length 1, or of zeros where there is no word."""
        await embedder.load()
        vectors = await embedder.embed(ODD)
        assert np.isfinite(vectors).all()
        for length in np.linalg.norm(vectors, axis=1):
            assert length == pytest.approx(1, abs=1e-3) or length == 0

    async def test_a_long_text_counts_by_its_beginning(self, embedder: Embedder) -> None:
        """It is not refused, and what comes late does not count."""
        await embedder.load()
        long = "The rent is due on the first of the month. " * 3_000
        one, other = await embedder.embed([long, f"{long} My dog is called Bo."])
        assert np.allclose(one, other, atol=self.tolerance)

    async def test_the_fingerprint_says_who_how_wide_and_which(self, embedder: Embedder) -> None:
        """And stays the same."""
        await embedder.load()
        first = embedder.fingerprint
        await embedder.load()
        await embedder.embed(TEXTS)
        assert first == f"{embedder.name}/{embedder.dimension}/{embedder.revision}"
        assert embedder.name
        assert embedder.revision
        assert embedder.fingerprint == first

    async def test_many_may_ask_at_once(self, embedder: Embedder) -> None:
        """Each gets the vectors of its own texts; the first ones wait for one load."""
        found: dict[str, object] = {}

        async def ask(text: str) -> None:
            await embedder.load()
            found[text] = (await embedder.embed([text]))[0]

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as tasks:
                for text in TEXTS[:4]:
                    tasks.start_soon(ask, text)
            expected = await embedder.embed(TEXTS[:4])
        for text, vector in zip(TEXTS, expected, strict=False):
            assert np.allclose(np.asarray(found[text]), vector, atol=self.tolerance)

    async def test_who_is_cancelled_leaves_it_fit_for_the_next(self, embedder: Embedder) -> None:
        """Nothing stays locked, and nothing is mixed up."""
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
        """It may be done twice, and what is asked afterwards is an EmbedderError."""
        await embedder.load()
        await embedder.aclose()
        await embedder.aclose()
        with pytest.raises(EmbedderError):
            await embedder.embed(["x"])
        with pytest.raises(EmbedderError):
            await embedder.load()

    async def test_it_can_be_closed_before_it_is_loaded(self, embedder: Embedder) -> None:
        """Then there is nothing to release."""
        await embedder.aclose()
        with pytest.raises(EmbedderError):
            await embedder.embed(["x"])

    @pytest.mark.usefixtures("no_blocking")
    async def test_nothing_blocks_the_event_loop(self, embedder: Embedder) -> None:
        """Neither loading nor embedding."""
        await embedder.load()
        await embedder.embed(TEXTS * 4)
