"""Sizes and shapes of a header are checked before anything is loaded."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.models.ggufs import gguf, metadata, tensor, write
from vanta.models import GgufError, read_gguf
from vanta_llamacpp.model.header_checks import ModelFacts, facts_of

NORMAL = 1


def facts(folder: Path, changes: dict[str, object]) -> ModelFacts:
    """The facts of a small file of one layer with `changes`."""
    pairs = metadata() | changes
    architecture = str(pairs["general.architecture"])
    pairs = {key.replace("llama.", f"{architecture}."): value for key, value in pairs.items()}
    tokens = pairs["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    count = len(tokens)
    if "tokenizer.ggml.token_type" not in changes:
        pairs["tokenizer.ggml.token_type"] = [NORMAL] * count
    size = 32 * count * 2
    tensors = [
        tensor("token_embd.weight", (32, count), 1, 0),
        tensor("output_norm.weight", (32,), 0, size),
    ]
    kept = {key: value for key, value in pairs.items() if value is not None}
    content = gguf(pairs=kept, tensors=tensors, data=size + 128)
    return facts_of(read_gguf(write(folder, content)))


def charsmap(units: list[int], texts: bytes, *, size: int | None = None) -> bytes:
    """SentencePiece's table of normalisations. size: the claimed bytes of its tree."""
    tree = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(tree) if size is None else size) + tree + texts


def unit(number: int, label: int, points_to: int, *, leaf: bool = False) -> int:
    """A unit of the tree whose children begin at `points_to`."""
    return (number ^ points_to) << 10 | leaf << 8 | label


TREE = [unit(0, 0, 0), *[0] * 255]
LEAF = [*TREE[:97], unit(97, 97, 200, leaf=True), *TREE[98:200], 1 << 31 | 2, *TREE[201:]]
"""The letter a (97) leads to the text at byte 2."""


def t5(table: bytes) -> dict[str, object]:
    """A vocabulary of unigrams with a table."""
    return {"tokenizer.ggml.model": "t5", "tokenizer.ggml.precompiled_charsmap": table}


FEW = {"tokenizer.ggml.tokens": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"llama.block_count": 513}, "'llama.block_count' must be between 1 and 512, not 513"),
        ({"llama.attention.head_count": 33}, "must be between 0 and 32, not 33"),
        ({"llama.attention.head_count": [-1]}, "must be between 0 and 32, not -1"),
        ({"llama.attention.head_count_kv": ["2"]}, "must be between 0 and 32, not '2'"),
        ({"llama.attention.head_count": 0}, "'llama.attention.head_count' is 0"),
        ({"general.name": 3}, "not a string"),
        ({"llama.pooling_type": "mean"}, "not a whole number"),
        ({"tokenizer.ggml.eos_token_id": 70}, "is 70, beyond 70 tokens"),
        (FEW | {"tokenizer.ggml.token_type": [1, 1]}, "does not fit the 3 tokens"),
        (t5(b"\1"), "has 1 bytes"),
        (t5(charsmap(TREE, b"x\0", size=5000)), "claims a tree of 5000 bytes"),
        (t5(charsmap(TREE, b"")), "claims a tree of 1024 bytes"),
        (t5(charsmap(TREE, b"x")), "does not end"),
        (t5(charsmap([unit(0, 0, 256), *TREE[1:]], b"\0")), "unit 0 points to 256"),
        (t5(charsmap(TREE[:255], b"\0")), "has a tree of 255 units"),
        (t5(charsmap(LEAF, b"x\0")), "unit 97 points to byte 2"),
    ],
)
def test_sizes_that_do_not_fit_are_errors_naming_the_key(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(GgufError) as raised:
        facts(tmp_path, changes)
    assert named in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.block_count": 512},
        {"llama.pooling_type": 4},
        {"llama.attention.head_count": [0], "llama.attention.head_count_kv": [0]},
        {"llama.attention.head_count_kv": 1},
        t5(charsmap(LEAF, b"xy\0\0")),
    ],
)
def test_values_of_real_models_are_accepted(tmp_path: Path, changes: dict[str, object]) -> None:
    assert facts(tmp_path, changes).window == 64


def test_facts_know_pooling_and_where_the_weights_begin(tmp_path: Path) -> None:
    pooled, plain = facts(tmp_path, {"llama.pooling_type": 1}), facts(tmp_path, {})
    assert (pooled.pools, plain.pools) == (True, False)
    assert plain.header_bytes == plain.size - 32 * 70 * 2 - 128
