"""What llama.cpp asserts of a header is asked before: a bad file is an error, never a signal."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.llamacpp.random_bert import write_random_bert
from tests.llamacpp.random_model import write_random_model
from tests.models.ggufs import gguf, metadata, patched, tensor, write
from vanta.models import GgufFault, read_gguf
from vanta_llamacpp.model.header_checks import ModelFacts, facts_of

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ESCAPED = [repr(bytes([byte]))[2:-1] for byte in range(256)]
"""As the tokens of RWKV write bytes."""
NORMAL, BYTE = 1, 6


def facts(folder: Path, changes: dict[str, object]) -> ModelFacts:
    """What a small file of one layer says of its model, but for `changes`."""
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
    """SentencePiece's table of normalisations; size: what it says of its tree, in bytes."""
    tree = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(tree) if size is None else size) + tree + texts


def unit(number: int, label: int, points_to: int, *, leaf: bool = False) -> int:
    """A unit of the tree: its children begin at `points_to`."""
    return (number ^ points_to) << 10 | leaf << 8 | label


TREE = [unit(0, 0, 0), *[0] * 255]
LEAF = [*TREE[:97], unit(97, 97, 200, leaf=True), *TREE[98:200], 1 << 31 | 2, *TREE[201:]]
"""The letter a (97) leads to the text at byte 2."""


def t5(table: bytes) -> dict[str, object]:
    """A vocabulary of unigrams with such a table."""
    return {"tokenizer.ggml.model": "t5", "tokenizer.ggml.precompiled_charsmap": table}


def without(tokens: list[str], byte: int, instead: str) -> list[str]:
    """`tokens`, but for one."""
    return [*tokens[:byte], instead, *tokens[byte + 1 :]]


SPM, RWKV = {"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.model": "rwkv"}
GPT2, NO_START = {"tokenizer.ggml.model": "gpt2"}, {"tokenizer.ggml.bos_token_id": None}
SLIDING = {"general.architecture": "cohere2", "llama.attention.sliding_window": 8}
FEW = {"tokenizer.ggml.tokens": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"llama.block_count": 513}, "'llama.block_count' is 513; 1 to 512"),
        ({"llama.nextn_predict_layers": 2}, "nextn_predict_layers' is 2; 0 to 1"),
        ({"llama.posnet.block_count": 2}, "posnet.block_count' is 2; 0 to 1"),
        ({"llama.pooling_type": 5}, "pooling_type' is 5; 0 to 4"),
        ({"llama.rope.scaling.type": "cubic"}, "rope.scaling.type' is 'cubic'"),
        ({"llama.rope.scaling.type": 3}, "not a string"),
        ({"llama.expert_count": 1025, "llama.expert_used_count": 1}, "0 to 1024"),
        ({"llama.expert_count": 4}, "expert_used_count' is 0; 1 to 4"),
        ({"llama.expert_count": 4, "llama.expert_used_count": 5}, "is 5; 0 to 4"),
        ({"llama.expert_count": 4, "llama.expert_used_count": [-1]}, "is -1; 0 to 4"),
        ({"llama.expert_count": 4, "llama.expert_used_count": [0]}, "is 0; 1 to 4"),
        ({"llama.expert_count": 4, "llama.expert_used_count": ["2"]}, "not a whole number"),
        ({"llama.expert_used_count": 1}, "expert_used_count' is 1; 0 to 0"),
        ({"llama.expert_group_count": 1}, "expert_group_count' is 1; 0 to 0"),
        ({"general.architecture": "glm4moe"}, "expert_count' is 0; 1 to 1024"),
        ({"llama.attention.head_count_kv": 3}, "is 3, among which 4 heads"),
        ({"llama.attention.head_count": [4], "llama.attention.head_count_kv": [3]}, "4 heads"),
        ({"llama.attention.value_length": 4}, "has 8 numbers a key and 4 a value"),
        ({"llama.rope.dimension_count": 4}, "rope.dimension_count' is 4; 8 makes"),
        ({"llama.attention.head_count": 32}, "dimension_count' is 1; an even"),
        ({"general.architecture": "phi2", "llama.rope.dimension_count": 3}, "an even number"),
        ({"general.architecture": "phi2", "llama.rope.dimension_count": 10}, "is 10; 2 to 8"),
        ({"general.architecture": "phi2", "llama.rope.dimension_count": 0}, "is 0; 2 to 8"),
        ({"general.architecture": "cohere2", "llama.rope.dimension_count_swa": 3}, "an even"),
        ({"general.architecture": "cohere2", "llama.attention.key_length_swa": 4}, "has 4 numbers"),
        (SLIDING | {"llama.attention.sliding_window_pattern": 1}, "leaves no layer"),
        (SLIDING | {"llama.attention.sliding_window_pattern": [0]}, "leaves no layer"),
        ({"tokenizer.ggml.model": "none"}, "no text can be read"),
        ({"tokenizer.ggml.model": "no_vocab"}, "no text can be read"),
        ({**GPT2, "tokenizer.ggml.pre": "whitespace"}, "'tokenizer.ggml.pre' is 'whitespace'"),
        (SPM, "no token for the byte 0x00"),
        (SPM | {"tokenizer.ggml.tokens": without(BYTES, 0xE2, "x")}, "the byte 0xE2"),
        (SPM | {"tokenizer.ggml.tokens": without(BYTES, 10, "\\n")}, "the byte 0x0A"),
        (RWKV | {"tokenizer.ggml.tokens": without(ESCAPED, 10, "\\n\\n")}, "the byte 0x0A"),
        (
            {"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": BYTES}
            | {"tokenizer.ggml.token_type": [BYTE] * 256},
            "has the type 6 (byte)",
        ),
        (t5(b"\1"), "has 1 bytes"),
        (t5(charsmap(TREE, b"x\0", size=5000)), "says that 5000 bytes are its tree"),
        (t5(charsmap(TREE, b"")), "says that 1024 bytes are its tree"),
        (t5(charsmap(TREE, b"x")), "does not end"),
        (t5(charsmap([unit(0, 0, 256), *TREE[1:]], b"\0")), "unit 0 points to 256"),
        (t5(charsmap(TREE[:255], b"\0")), "has a tree of 255 units"),
        (t5(charsmap(LEAF, b"x\0")), "unit 97 points to byte 2"),
        (GPT2 | NO_START | FEW | {"tokenizer.ggml.add_bos_token": True}, "every text is to have"),
        (GPT2 | NO_START | FEW | {"tokenizer.ggml.pre": "llama-bpe"}, "bos_token_id' is missing"),
        (GPT2 | NO_START | {"tokenizer.ggml.pre": "glm4"}
         | {"tokenizer.ggml.add_bos_token": True}, "bos_token_id' is missing"),
        (NO_START | {"tokenizer.ggml.model": "gemma4"}, "bos_token_id' is missing"),
        (GPT2 | FEW | {"tokenizer.ggml.add_eos_token": True}, "eos_token_id' is missing"),
    ],
)  # fmt: skip
def test_what_llama_cpp_would_end_the_process_for_is_a_fault(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    """The message names the key."""
    with pytest.raises(GgufFault) as raised:
        facts(tmp_path, changes)
    assert named in str(raised.value)


@pytest.mark.parametrize(
    ("experts", "groups", "used", "named"),
    [
        (8, 8, 1, "expert_group_count' is 8; 0 to 7"),
        (8, 3, 1, "into which 8 experts cannot be parted"),
        (8, 4, 0, "expert_group_used_count' is 0; 1 to 3"),
        (8, 4, 4, "expert_group_used_count' is 4; 1 to 3"),
        (8, 4, 2, None),
        (8, 1, 0, None),
        (8, 0, 9, None),
    ],
)
def test_experts_are_parted_into_groups(
    tmp_path: Path, experts: int, groups: int, used: int, named: str | None
) -> None:
    """Evenly, and not all groups are used."""
    changes: dict[str, object] = {
        "llama.expert_count": experts,
        "llama.expert_used_count": 2,
        "llama.expert_group_count": groups,
        "llama.expert_group_used_count": used,
    }
    if named is None:
        assert facts(tmp_path, changes).layers == 1
        return
    with pytest.raises(GgufFault, match=named):
        facts(tmp_path, changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.block_count": 512},
        {"llama.nextn_predict_layers": 1},
        {"llama.expert_count": 1024, "llama.expert_used_count": [8]},
        {"general.architecture": "hunyuan-dense", "llama.expert_count": 1},
        {"llama.rope.scaling.type": "yarn"},
        {"llama.pooling_type": 4},
        {"llama.attention.head_count": [0], "llama.attention.head_count_kv": [0]},
        {"llama.attention.head_count_kv": 1},
        {"general.architecture": "phi2", "llama.rope.dimension_count": 4},
        {"general.architecture": "deepseek2", "llama.attention.value_length": 4},
        {"general.architecture": "minimax-m2", "llama.rope.dimension_count": 4},
        SLIDING | {"llama.attention.sliding_window_pattern": 4},
        SLIDING | {"llama.attention.sliding_window_pattern": [1]},
        SPM | {"tokenizer.ggml.tokens": BYTES},
        SPM | {"tokenizer.ggml.tokens": without(BYTES, 0xFF, "no UTF-8 has it")},
        SPM | {"tokenizer.ggml.tokens": without(BYTES, 10, "\n")},
        RWKV | {"tokenizer.ggml.tokens": ESCAPED},
        t5(charsmap(LEAF, b"xy\0\0")),
        GPT2 | NO_START,
        GPT2 | NO_START | FEW,
        {"tokenizer.ggml.model": "whitespace", "tokenizer.ggml.pre": "whitespace"},
    ],
)
def test_what_llama_cpp_bears_is_no_fault(tmp_path: Path, changes: dict[str, object]) -> None:
    """The same keys, with values that real models have."""
    assert facts(tmp_path, changes).window == 64


HOSTILE: dict[str, dict[str, object]] = {
    "right": {},
    "layers": {"llama.block_count": 600},
    "predicting layers": {"llama.nextn_predict_layers": 3},
    "experts": {"llama.expert_count": 2000, "llama.expert_used_count": 2},
    "no expert used": {"llama.expert_count": 4},
    "no experts": {"llama.expert_used_count": 2},
    "groups": {
        "llama.expert_count": 8,
        "llama.expert_used_count": 2,
        "llama.expert_group_count": 3,
    },
    "rope": {"llama.rope.scaling.type": "cubic"},
    "no vocabulary": {"tokenizer.ggml.model": "none"},
    "bytes": {"tokenizer.ggml.model": "llama"},
    "spaces": {"tokenizer.ggml.pre": "whitespace"},
}
LOADING = """
import json, sys, anyio
from pathlib import Path
from tests.llamacpp.support import answer, engine_on, request
from vanta.errors import EngineError
async def tried(path):
    engine = engine_on(path, window=128)
    try:
        await answer(engine, request("Hi  \\0 \\u4e16", max_tokens=1))
    except EngineError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await engine.aclose()
    return "answered"
for path in sys.argv[1:]:
    print(json.dumps(anyio.run(tried, Path(path))), flush=True)
"""


EMBEDDING = LOADING.replace(
    'answer(engine, request("Hi  \\0 \\u4e16", max_tokens=1))', 'engine.embed(["rain falls"])'
)
HOSTILE_EMBEDDERS: dict[str, dict[str, object]] = {
    "right": {},
    "keys": {"bert.attention.key_length": 8},
    "pooling": {"bert.pooling_type": 7},
    "end": {"tokenizer.ggml.model": "t5", "tokenizer.ggml.eos_token_id": 1 << 31},
    "map": {**t5(charsmap(LEAF, b"x\0"))},
}
HOSTILE_SLIDING: dict[str, dict[str, object]] = {
    "right": {},
    "pattern": {"cohere2.attention.sliding_window_pattern": 1},
    "keys": {"cohere2.attention.key_length_swa": 8},
    "rotated": {"cohere2.rope.dimension_count_swa": 3},
    "nothing rotated": {"cohere2.rope.dimension_count": 0},
}


def told_of(
    program: str, source: Path, folder: Path, changes: dict[str, dict[str, object]]
) -> None:
    """Run `program` on copies of a model that answers, each with a few pairs changed: all in one
    process, which lives to tell what is wrong with each."""
    paths = [
        str(patched(source, folder / f"{name}.gguf", pairs)) for name, pairs in changes.items()
    ]
    ran = subprocess.run(
        [sys.executable, "-c", program, *paths],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = dict(zip(changes, map(json.loads, ran.stdout.splitlines()), strict=True))
    assert told.pop("right") == "answered"
    for name, message in told.items():
        assert message.startswith("EngineError: "), name
        assert "not usable" in message, (name, message)
        assert f"{name}.gguf" in message


def test_no_header_ends_the_process(random_path: Path, tmp_path: Path) -> None:
    """Each of these ended it, at loading or at the first text."""
    told_of(LOADING, random_path, tmp_path, HOSTILE)


def test_no_header_of_an_embedder_ends_the_process(tmp_path: Path) -> None:
    """Nor one of BERT, whose graph asserts more."""
    assert EMBEDDING != LOADING
    told_of(EMBEDDING, write_random_bert(tmp_path / "bert"), tmp_path, HOSTILE_EMBEDDERS)


def test_no_header_of_sliding_windows_ends_the_process(smollm2_path: Path, tmp_path: Path) -> None:
    """Their layers have sizes of their own."""
    model = write_random_model(tmp_path / "sliding", smollm2_path, sliding=64)
    told_of(LOADING, model, tmp_path, HOSTILE_SLIDING)
