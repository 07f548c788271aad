"""Vectors for texts: from models that were made for it, one for each text, whoever else asks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.llamacpp.random_bert import FIRST, write_random_bert
from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import MakeEngine, answer, request
from vanta.errors import EngineError, ErrorKind
from vanta.testing import ScriptedEngine
from vanta_llamacpp.embedding.vectors import LONGEST, MOST_TEXTS, Embedder, portions
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.model import model_params
from vanta_llamacpp.options import LlamaCppOptions
from vanta_llamacpp.worker.inbox import Embed, Inbox
from vanta_llamacpp.worker.mailbox import Mailbox

pytestmark = pytest.mark.anyio
MEAN, LAST = 1, 3
TEXTS = ["Rain falls.", "Rain falls.", "A stone", "x" * 300]


@pytest.fixture
def pooled(make_engine: MakeEngine, smollm2_path: Path, tmp_path: Path) -> LlamaCppEngine:
    """An engine on a tiny model whose file says that vectors are means."""
    path = tmp_path / "pooled.gguf"
    return make_engine(path=write_random_model(path, smollm2_path, pooling=MEAN), threads=1)


def likeness(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_each_text_has_a_vector_of_length_one(pooled: LlamaCppEngine) -> None:
    """The same for the same text, and the same alone as in company."""
    assert pooled.capabilities.embeddings
    vectors = await pooled.embed(TEXTS)
    assert [len(vector) for vector in vectors] == [64] * 4
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 4)
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)
    assert likeness(vectors[0], vectors[2]) < 0.99
    for text, vector in zip(TEXTS, vectors, strict=True):
        (alone,) = await pooled.embed([text])
        assert likeness(alone, vector) > 0.999
    assert await pooled.embed([]) == []


async def test_the_pooling_is_the_files(
    make_engine: MakeEngine, pooled: LlamaCppEngine, smollm2_path: Path, tmp_path: Path
) -> None:
    """The last token's state is another vector than the mean of all."""
    path = write_random_model(tmp_path / "last.gguf", smollm2_path, pooling=LAST)
    (last,) = await make_engine(path=path, threads=1).embed([TEXTS[0]])
    (mean,) = await pooled.embed([TEXTS[0]])
    assert likeness(last, mean) < 0.99


async def test_it_answers_meanwhile_as_ever(pooled: LlamaCppEngine) -> None:
    """Embedding and generating share the weights and nothing else."""
    expected = (await answer(pooled, request())).text
    texts: list[str] = []

    async def write() -> None:
        texts.append((await answer(pooled, request())).text)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await pooled.embed(TEXTS * 20)
    assert texts == [expected]


async def test_writers_have_their_turns_however_many_texts_there_are(
    pooled: LlamaCppEngine,
) -> None:
    """Three embed without a pause and without end; who asks for an answer gets it."""

    async def embed() -> None:
        while True:
            await pooled.embed(["word " * 300] * 60)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(embed)
        while not len(pooled._inbox._asked):
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(60):
            told = await answer(pooled, request(max_tokens=8))
        tasks.cancel_scope.cancel()
    assert told.text


async def test_whoever_leaves_is_computed_for_no_longer(pooled: LlamaCppEngine) -> None:
    """And the next one gets its vectors."""
    expected = await pooled.embed(TEXTS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pooled.embed, ["word " * 300] * 400)
        while pooled._worker._embedding is None:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert await pooled.embed(TEXTS) == expected


async def test_short_texts_are_computed_together(
    pooled: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many in one step as it may have."""
    together = list[int]()
    embed = Embedder.embed

    def counted(self: Embedder, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        together.append(len(texts))
        return embed(self, texts)

    monkeypatch.setattr(Embedder, "embed", counted)
    vectors = await pooled.embed(["rain"] * (MOST_TEXTS + 4))
    assert together == [MOST_TEXTS, 4]
    assert len(vectors) == MOST_TEXTS + 4


async def test_so_many_may_wait_for_vectors() -> None:
    """As for answers; one more is refused."""
    inbox = Inbox(2, Faults("small"))
    for _ in range(2):
        inbox.ask(Embed([[1]], Mailbox()))
    with pytest.raises(EngineError, match="2 requests wait already") as raised:
        inbox.ask(Embed([[1]], Mailbox()))
    assert raised.value.kind is ErrorKind.OVERLOADED


async def test_a_model_without_pooling_is_refused(shared_engine: LlamaCppEngine) -> None:
    """Rather than given a vector that means nothing."""
    with pytest.raises(EngineError, match="names no pooling") as raised:
        await shared_engine.embed(["x"])
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert (await answer(shared_engine, request(max_tokens=2))).text


async def test_a_text_that_is_too_long_is_refused_by_its_number(pooled: LlamaCppEngine) -> None:
    """Before anything is computed."""
    with pytest.raises(EngineError, match=r"text 1 has .* tokens; 1 to 1024") as raised:
        await pooled.embed(["short", "word " * 3000])
    assert raised.value.kind is ErrorKind.CONTEXT_OVERFLOW


async def test_a_closed_engine_says_so(pooled: LlamaCppEngine) -> None:
    """As for answers."""
    await pooled.embed(["x"])
    await pooled.aclose()
    with pytest.raises(EngineError, match="closed"):
        await pooled.embed(["x"])


@pytest.fixture
def bert(make_engine: MakeEngine, tmp_path: Path) -> LlamaCppEngine:
    """An engine on a tiny BERT."""
    path = write_random_bert(tmp_path / "bert.gguf")
    return make_engine(path=path, threads=1, window=None)


async def test_an_encoder_makes_vectors_in_batches(bert: LlamaCppEngine) -> None:
    """Each text the one that it gets alone; word order and both sides of a word count."""
    await bert.load()
    assert bert.window == 512
    texts = ["rain falls", "falls rain", "a stone", "rain falls the river"] * 12
    vectors = await bert.embed(texts)
    assert [len(vector) for vector in vectors] == [64] * 48
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 48)
    assert likeness(vectors[0], vectors[4]) > 0.9999
    assert likeness(vectors[0], vectors[1]) < 0.9999
    for text, vector in zip(texts[:4], vectors, strict=False):
        (alone,) = await bert.embed([text])
        assert likeness(alone, vector) > 0.9999


async def test_the_high_level_class_makes_the_same_vectors(
    bert: LlamaCppEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the pooling that the file names."""
    from llama_cpp import Llama, llama_cpp

    params = model_params(llama_cpp, LlamaCppOptions())
    monkeypatch.setattr(llama_cpp, "llama_model_default_params", lambda: params)
    peer = Llama(str(tmp_path / "bert.gguf"), embedding=True, verbose=False)
    theirs = [peer.embed(text, normalize=True) for text in ("rain falls", "a stone")]
    peer.close()
    ours = await bert.embed(["rain falls", "a stone"])
    assert [likeness(*pair) for pair in zip(ours, theirs, strict=True)] == pytest.approx([1, 1])


async def test_an_encoders_pooling_is_its_files(
    bert: LlamaCppEngine, make_engine: MakeEngine, tmp_path: Path
) -> None:
    """The first token's state is another vector than the mean; no pooling is refused."""
    path = write_random_bert(tmp_path / "first.gguf", pooling=FIRST)
    (first,) = await make_engine(path=path, threads=1, window=None).embed(["rain falls"])
    (mean,) = await bert.embed(["rain falls"])
    assert likeness(first, mean) < 0.99
    plain = write_random_bert(tmp_path / "plain.gguf", pooling=None)
    with pytest.raises(EngineError, match="names no pooling"):
        await make_engine(path=plain, threads=1, window=None).embed(["x"])


async def test_an_encoder_is_asked_for_no_answers(bert: LlamaCppEngine) -> None:
    """It says what it is for, and still is."""
    with pytest.raises(EngineError, match="computes vectors, not answers") as raised:
        await answer(bert, request())
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    with pytest.raises(EngineError, match="computes vectors, not answers"):
        await bert.count_tokens(request().messages)
    assert len(await bert.embed(["a stone"])) == 1


async def test_an_encoders_text_beyond_its_window_is_refused(bert: LlamaCppEngine) -> None:
    """It has no place for more."""
    with pytest.raises(EngineError, match=r"text 0 has .* tokens; 1 to 512"):
        await bert.embed(["rain " * 600])


def test_portions_keep_order_and_fit() -> None:
    """By tokens and by number."""
    texts = [[number] * (1 + number * 37 % LONGEST) for number in range(100)]
    parts = portions(texts)
    assert [tokens for part in parts for tokens in part] == texts
    assert max(sum(map(len, part)) for part in parts) <= LONGEST
    assert max(map(len, parts)) <= MOST_TEXTS


async def test_an_engine_that_cannot_embed_says_so() -> None:
    """That is the contract's own answer."""
    engine = ScriptedEngine("Hi")
    assert not engine.capabilities.embeddings
    with pytest.raises(EngineError, match="cannot be embedded") as raised:
        await engine.embed(["x"])
    assert raised.value.kind is ErrorKind.UNSUPPORTED
