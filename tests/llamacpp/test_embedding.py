"""Test embeddings: a vector for each text, independent of the other texts and requests."""

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
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.model import model_params
from vanta_llamacpp.options import LlamaCppOptions
from vanta_llamacpp.worker import BATCH_TOKENS, EmbedTask, Inbox, Mailbox, split_batches
from vanta_llamacpp.worker.embedding import BATCH_TEXTS, EmbeddingContext

pytestmark = pytest.mark.anyio
MEAN, LAST = 1, 3
TEXTS = ["Rain falls.", "Rain falls.", "A stone", "x" * 300]


@pytest.fixture
def pooled(make_engine: MakeEngine, smollm2_path: Path, tmp_path: Path) -> LlamaCppEngine:
    """Return an engine on a tiny model whose file declares mean pooling."""
    path = tmp_path / "pooled.gguf"
    return make_engine(path=write_random_model(path, smollm2_path, pooling=MEAN), threads=1)


def cosine(first: list[float], second: list[float]) -> float:
    """Return the cosine of two vectors of length 1."""
    return sum(a * b for a, b in zip(first, second, strict=True))


async def test_each_text_has_a_vector_of_length_one(pooled: LlamaCppEngine) -> None:
    """Equal texts have equal vectors, alone and in a batch."""
    assert pooled.capabilities.embeddings
    vectors = await pooled.embed(TEXTS)
    assert [len(vector) for vector in vectors] == [64] * 4
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 4)
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)
    assert cosine(vectors[0], vectors[2]) < 0.99
    for text, vector in zip(TEXTS, vectors, strict=True):
        (alone,) = await pooled.embed([text])
        assert cosine(alone, vector) > 0.999
    assert await pooled.embed([]) == []


async def test_the_file_decides_on_the_pooling(
    make_engine: MakeEngine, pooled: LlamaCppEngine, smollm2_path: Path, tmp_path: Path
) -> None:
    """The state of the last token differs from the mean of all."""
    path = write_random_model(tmp_path / "last.gguf", smollm2_path, pooling=LAST)
    (last,) = await make_engine(path=path, threads=1).embed([TEXTS[0]])
    (mean,) = await pooled.embed([TEXTS[0]])
    assert cosine(last, mean) < 0.99


async def test_embedding_does_not_change_an_answer_beside_it(pooled: LlamaCppEngine) -> None:
    """Embedding and generation share the weights and nothing else."""
    expected = (await answer(pooled, request())).text
    texts: list[str] = []

    async def write() -> None:
        texts.append((await answer(pooled, request())).text)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await pooled.embed(TEXTS * 20)
    assert texts == [expected]


async def test_generations_take_turns_with_endless_embeddings(
    pooled: LlamaCppEngine,
) -> None:
    """Three tasks embed without a pause; an answer still completes."""

    async def embed() -> None:
        while True:
            await pooled.embed(["word " * 300] * 60)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(embed)
        while not pooled.stats()["embedded_texts"]:
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(60):
            completion = await answer(pooled, request(max_tokens=8))
        tasks.cancel_scope.cancel()
    assert completion.text


async def test_a_cancelled_embedding_stops_the_computation(pooled: LlamaCppEngine) -> None:
    """The next call then gets its vectors."""
    expected = await pooled.embed(TEXTS)
    before = pooled.stats()["embedded_texts"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pooled.embed, ["word " * 300] * 400)
        while pooled.stats()["embedded_texts"] == before:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert await pooled.embed(TEXTS) == expected
    assert pooled.stats()["embedded_texts"] < before + 400


async def test_short_texts_are_computed_together(
    pooled: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is as full as it can be."""
    sizes = list[int]()
    embed = EmbeddingContext.embed

    def counted(self: EmbeddingContext, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        sizes.append(len(texts))
        return embed(self, texts)

    monkeypatch.setattr(EmbeddingContext, "embed", counted)
    vectors = await pooled.embed(["rain"] * (BATCH_TEXTS + 4))
    assert sizes == [BATCH_TEXTS, 4]
    assert len(vectors) == BATCH_TEXTS + 4


async def test_waiting_embeddings_are_limited() -> None:
    """The limit is that of waiting answers; one more is refused."""
    inbox = Inbox(2, Faults("small"))
    for _ in range(2):
        inbox.submit(EmbedTask([[1]], Mailbox()))
    with pytest.raises(EngineError, match="2 requests are waiting") as raised:
        inbox.submit(EmbedTask([[1]], Mailbox()))
    assert raised.value.kind is ErrorKind.OVERLOADED


async def test_a_model_without_pooling_is_refused(shared_engine: LlamaCppEngine) -> None:
    """Its vectors would be meaningless."""
    with pytest.raises(EngineError, match="declares no pooling") as raised:
        await shared_engine.embed(["x"])
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert (await answer(shared_engine, request(max_tokens=2))).text


async def test_a_text_that_is_too_long_is_refused_by_its_number(pooled: LlamaCppEngine) -> None:
    """Before anything is computed."""
    with pytest.raises(
        EngineError, match=r"text 1 has .* tokens; it must have between 1 and 1024"
    ) as raised:
        await pooled.embed(["short", "word " * 3000])
    assert raised.value.kind is ErrorKind.CONTEXT_OVERFLOW


async def test_a_closed_engine_refuses_to_embed(pooled: LlamaCppEngine) -> None:
    await pooled.embed(["x"])
    await pooled.aclose()
    with pytest.raises(EngineError, match="closed"):
        await pooled.embed(["x"])


@pytest.fixture
def bert(make_engine: MakeEngine, tmp_path: Path) -> LlamaCppEngine:
    """Return an engine on a tiny BERT."""
    path = write_random_bert(tmp_path / "bert.gguf")
    return make_engine(path=path, threads=1, window=None)


async def test_an_encoder_makes_vectors_in_batches(bert: LlamaCppEngine) -> None:
    """The same vectors as alone; word order matters, in both directions."""
    await bert.load()
    assert bert.window == 512
    texts = ["rain falls", "falls rain", "a stone", "rain falls the river"] * 12
    vectors = await bert.embed(texts)
    assert [len(vector) for vector in vectors] == [64] * 48
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 48)
    assert cosine(vectors[0], vectors[4]) > 0.9999
    assert cosine(vectors[0], vectors[1]) < 0.9999
    for text, vector in zip(texts[:4], vectors, strict=False):
        (alone,) = await bert.embed([text])
        assert cosine(alone, vector) > 0.9999


async def test_the_high_level_class_makes_the_same_vectors(
    bert: LlamaCppEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama-cpp-python's class uses the pooling that the file declares."""
    from llama_cpp import Llama, llama_cpp

    params = model_params(llama_cpp, LlamaCppOptions())
    monkeypatch.setattr(llama_cpp, "llama_model_default_params", lambda: params)
    peer = Llama(str(tmp_path / "bert.gguf"), embedding=True, verbose=False)
    theirs = [peer.embed(text, normalize=True) for text in ("rain falls", "a stone")]
    peer.close()
    ours = await bert.embed(["rain falls", "a stone"])
    assert [cosine(*pair) for pair in zip(ours, theirs, strict=True)] == pytest.approx([1, 1])


async def test_the_file_decides_on_the_pooling_of_an_encoder(
    bert: LlamaCppEngine, make_engine: MakeEngine, tmp_path: Path
) -> None:
    """The state of the first token differs from the mean; no pooling is refused."""
    path = write_random_bert(tmp_path / "first.gguf", pooling=FIRST)
    (first,) = await make_engine(path=path, threads=1, window=None).embed(["rain falls"])
    (mean,) = await bert.embed(["rain falls"])
    assert cosine(first, mean) < 0.99
    plain = write_random_bert(tmp_path / "plain.gguf", pooling=None)
    with pytest.raises(EngineError, match="declares no pooling"):
        await make_engine(path=plain, threads=1, window=None).embed(["x"])


async def test_an_encoder_refuses_to_answer(bert: LlamaCppEngine) -> None:
    """The error says what it is for, and it can still embed."""
    with pytest.raises(EngineError, match="computes vectors, not answers") as raised:
        await answer(bert, request())
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    with pytest.raises(EngineError, match="computes vectors, not answers"):
        await bert.count_tokens(request().messages)
    assert len(await bert.embed(["a stone"])) == 1


async def test_a_text_beyond_an_encoders_window_is_refused(bert: LlamaCppEngine) -> None:
    with pytest.raises(EngineError, match=r"text 0 has .* tokens; it must have between 1 and 512"):
        await bert.embed(["rain " * 600])


def test_batches_keep_the_order_and_both_limits() -> None:
    """Tokens and texts of a batch are limited."""
    texts = [[number] * (1 + number * 37 % BATCH_TOKENS) for number in range(100)]
    parts = split_batches(texts)
    assert [tokens for part in parts for tokens in part] == texts
    assert max(sum(map(len, part)) for part in parts) <= BATCH_TOKENS
    assert max(map(len, parts)) <= BATCH_TEXTS


async def test_an_engine_without_the_capability_refuses_to_embed() -> None:
    """The contract's base class raises the error."""
    engine = ScriptedEngine("Hi")
    assert not engine.capabilities.embeddings
    with pytest.raises(EngineError, match="does not embed texts") as raised:
        await engine.embed(["x"])
    assert raised.value.kind is ErrorKind.UNSUPPORTED
