"""Writes all-MiniLM-L6-v2 as the GGUF file that llama.cpp's converter would produce.

It has the real weights, in float32, the real vocabulary, pooling and bidirectional attention, like
any GGUF file of an embedding model.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from vanta_embedders.model_files import LAYERS, map_weights

_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _INT32 = 4, 6, 7, 8, 9, 5
_ALIGNMENT = 32
_MEAN = 1
_NORMAL, _CONTROL = 1, 3
_OUTER = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_INNER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def write_minilm_gguf(path: Path, weights: Path) -> Path:
    """Write the file from the safetensors file `weights` and the tokenizer beside it."""
    tensors = {_renamed(name): tensor for name, tensor in map_weights(weights).items()}
    pairs = _metadata(weights.with_name("tokenizer.json"))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    offset = 0
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, offset)
        offset += _padded(tensor.nbytes)
    with path.open("wb") as file:
        file.write(head.ljust(_padded(len(head)), b"\0"))
        for tensor in tensors.values():
            file.write(tensor.tobytes().ljust(_padded(tensor.nbytes), b"\0"))
    return path


def _renamed(name: str) -> str:
    for ours, theirs in _OUTER.items():
        if name.startswith(ours):
            return name.replace(ours, theirs)
    _, _, layer, inner = name.split(".", 3)
    part, kind = inner.rsplit(".", 1)
    return f"blk.{layer}.{_INNER[part]}.{kind}"


def _metadata(tokenizer: Path) -> list[bytes]:
    vocabulary = json.loads(tokenizer.read_text("utf-8"))["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    kinds = [_CONTROL if token.startswith("[") and len(token) > 2 else _NORMAL for token in tokens]
    numbers = {
        "bert.context_length": 512,
        "bert.embedding_length": 384,
        "bert.feed_forward_length": 1536,
        "bert.block_count": LAYERS,
        "bert.attention.head_count": 12,
        "bert.pooling_type": _MEAN,
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.bos_token_id": 101,
        "tokenizer.ggml.seperator_token_id": 102,  # as llama.cpp spells it
        "tokenizer.ggml.unknown_token_id": 100,
        "tokenizer.ggml.padding_token_id": 0,
    }
    return [
        _pair("general.architecture", _STRING, _text("bert")),
        _pair("general.name", _STRING, _text("MiniLM")),
        *(_pair(key, _UINT32, struct.pack("<I", value)) for key, value in numbers.items()),
        _pair("bert.attention.layer_norm_epsilon", _FLOAT32, struct.pack("<f", 1e-12)),
        _pair("bert.attention.causal", _BOOL, b"\0"),
        _pair("tokenizer.ggml.model", _STRING, _text("bert")),
        _pair("tokenizer.ggml.pre", _STRING, _text("jina-v2-en")),
        _pair("tokenizer.ggml.tokens", _ARRAY, _array(_STRING, [_text(_word(t)) for t in tokens])),
        _pair(
            "tokenizer.ggml.token_type",
            _ARRAY,
            _array(_INT32, [struct.pack("<i", kind) for kind in kinds]),
        ),
    ]


def _word(token: str) -> str:
    """llama.cpp marks the beginnings of words, not their continuations."""
    if token.startswith("[") and token.endswith("]") and len(token) > 2:
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _array(kind: int, items: list[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
