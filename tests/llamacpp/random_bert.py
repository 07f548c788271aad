"""Writes a tiny BERT: random weights, a small vocabulary of word pieces, as converted by llama.cpp.

The keys and tensors are those that llama.cpp's own converter writes (conversion/bert.py).
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

WIDTH, HIDDEN, HEADS, LAYERS, WINDOW = 64, 128, 4, 2, 512
MEAN, FIRST, LAST = 1, 2, 3
"""llama.cpp's numbers of how vectors are pooled."""
_BOOL, _UINT32, _INT32, _FLOAT32, _STRING, _ARRAY = 7, 4, 5, 6, 8, 9
_SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
_CONTROL, _NORMAL = 3, 1
_WORDS = ("rain", "falls", "stone", "green", "the", "seven", "river", "paper", "cloud")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"


def write_random_bert(path: Path, *, pooling: int | None = MEAN, seed: int = 7) -> Path:
    """A model at `path` that makes vectors of 64 numbers."""
    tokens = _tokens()
    pairs = _pairs(tokens, pooling)
    tensors = _tensors(len(tokens))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    offset = 0
    for name, shape in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, offset)
        offset += 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    chance = random.Random(seed)  # noqa: S311 - weights, no secrets
    data = b"".join(_weights(name, shape, chance) for name, shape in tensors.items())
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return path


def _tokens() -> list[str]:
    """Word pieces: a word begins with the mark, what goes on with one does not."""
    tokens = [_SPECIAL.get(number, f"[unused{number}]") for number in range(104)]
    tokens += [f"\u2581{word}" for word in (*_WORDS, *_LETTERS)]
    return tokens + list(_LETTERS)


def _pairs(tokens: list[str], pooling: int | None) -> list[bytes]:
    types = [_CONTROL if number < 104 else _NORMAL for number in range(len(tokens))]
    numbers = {
        "bert.context_length": WINDOW,
        "bert.embedding_length": WIDTH,
        "bert.feed_forward_length": HIDDEN,
        "bert.block_count": LAYERS,
        "bert.attention.head_count": HEADS,
        "tokenizer.ggml.token_type_count": 2,
    }
    if pooling is not None:
        numbers["bert.pooling_type"] = pooling
    return [
        _pair("general.architecture", _STRING, _text("bert")),
        _pair("tokenizer.ggml.model", _STRING, _text("bert")),
        *(_pair(key, _UINT32, struct.pack("<I", value)) for key, value in numbers.items()),
        _pair("bert.attention.layer_norm_epsilon", _FLOAT32, struct.pack("<f", 1e-12)),
        _pair("bert.attention.causal", _BOOL, b"\0"),
        _array("tokenizer.ggml.tokens", _STRING, [_text(token) for token in tokens]),
        _array("tokenizer.ggml.token_type", _INT32, [struct.pack("<i", kind) for kind in types]),
    ]


def _tensors(vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (WIDTH, vocabulary),
        "token_types.weight": (WIDTH, 2),
        "position_embd.weight": (WIDTH, WINDOW),
        "token_embd_norm.weight": (WIDTH,),
        "token_embd_norm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        for name, shape in {
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH, WIDTH),
            "attn_v": (WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "attn_output_norm": (WIDTH,),
            "ffn_up": (WIDTH, HIDDEN),
            "ffn_down": (HIDDEN, WIDTH),
            "layer_output_norm": (WIDTH,),
        }.items():
            shapes[f"blk.{layer}.{name}.weight"] = shape
            shapes[f"blk.{layer}.{name}.bias"] = shape[-1:]
    return shapes


def _weights(name: str, shape: tuple[int, ...], chance: random.Random) -> bytes:
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if name.endswith("norm.weight"):
        return struct.pack(f"<{count}f", *[1.0] * count)
    return struct.pack(f"<{count}f", *(chance.uniform(-0.3, 0.3) for _ in range(count)))


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _array(key: str, kind: int, items: list[bytes]) -> bytes:
    return _pair(key, _ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()
