"""all-MiniLM-L6-v2 in numbers: a BERT of six layers (https://arxiv.org/abs/2002.10957).

Invariant: weights that do not have these names and shapes are another model and are refused, since
the graph is built for these alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

WIDTH = 384
LAYERS = 6
HEADS = 12
INNER = 1536
VOCABULARY = 30_522
POSITIONS = 512
EPSILON = 1e-12
"""Of every layer norm."""

WINDOW = 256
"""Word pieces of a text that count, [CLS] and [SEP] among them, as the model was published."""

REVISION = "1"
"""Of the graph: it changes with whatever changes a vector or the names below."""

PIECES, MASK, VECTORS = "pieces", "mask", "vectors"
"""The graph's inputs, int64 ids and int32 ones (zeros where a row is padded), both (texts, pieces),
and its output, float32 (texts, WIDTH)."""

Shape = tuple[int, ...]


def shapes() -> Mapping[str, Shape]:
    """Every tensor that the graph needs, by its name in the published weights."""
    embeddings = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        **_norm("embeddings.LayerNorm"),
    }
    layers = (tensor for number in range(LAYERS) for tensor in _layer(layer(number)))
    return {**embeddings, **dict(layers)}


def layer(number: int) -> str:
    """The beginning of the names of a layer's tensors."""
    return f"encoder.layer.{number}."


def _layer(at: str) -> Iterator[tuple[str, Shape]]:
    for part in ("query", "key", "value"):
        yield from _linear(f"{at}attention.self.{part}", WIDTH, WIDTH)
    yield from _linear(f"{at}attention.output.dense", WIDTH, WIDTH)
    yield from _norm(f"{at}attention.output.LayerNorm").items()
    yield from _linear(f"{at}intermediate.dense", INNER, WIDTH)
    yield from _linear(f"{at}output.dense", WIDTH, INNER)
    yield from _norm(f"{at}output.LayerNorm").items()


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _norm(name: str) -> dict[str, Shape]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
