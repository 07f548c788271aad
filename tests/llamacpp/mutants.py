"""Damaged copies of model files: metadata changed on purpose, and bytes changed at random."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.models.ggufs import patched

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
BOTH: Mapping[str, Mapping[str, object]] = {
    "pooling": {"ARCH.pooling_type": 7},
    "keys": {"ARCH.attention.key_length": 8},
    "values": {"ARCH.attention.value_length": 8},
    "kv heads": {"ARCH.attention.head_count_kv": 3},
    "heads": {"ARCH.attention.head_count": 5},
    "rotated": {"ARCH.rope.dimension_count": 3},
    "rope scaling": {"ARCH.rope.scaling.type": "cubic"},
    "epsilon": {"ARCH.attention.layer_norm_epsilon": math.nan},
    "no vocabulary": {"tokenizer.ggml.model": "none"},
    "unigrams without an end": {"tokenizer.ggml.model": "t5"},
    "unknown tokenizer": {"tokenizer.ggml.model": "odd"},
    "layers": {"ARCH.block_count": 3},
    "feed forward": {"ARCH.feed_forward_length": 7},
}
CHANGES: Mapping[str, Mapping[str, object]] = {
    **BOTH,
    "epsilon NaN": {"llama.attention.layer_norm_rms_epsilon": math.nan},
    "epsilon negative": {"llama.attention.layer_norm_rms_epsilon": -1.0},
    "epsilon infinite": {"llama.attention.layer_norm_rms_epsilon": math.inf},
    "predicting layers": {"llama.nextn_predict_layers": 3},
    "experts": {"llama.expert_count": 2000, "llama.expert_used_count": 2},
    "no expert used": {"llama.expert_count": 4},
    "no experts": {"llama.expert_used_count": 2},
    "expert groups": {
        "llama.expert_count": 8,
        "llama.expert_used_count": 2,
        "llama.expert_group_count": 3,
    },
    "bytes": {"tokenizer.ggml.model": "llama"},
    "escaped bytes": {"tokenizer.ggml.model": "rwkv"},
    "spaces": {"tokenizer.ggml.pre": "whitespace"},
    "start token": {"tokenizer.ggml.model": "gemma4", "tokenizer.ggml.add_bos_token": True},
    "base NaN": {"llama.rope.freq_base": math.nan},
    "base zero": {"llama.rope.freq_base": 0.0},
    "scale zero": {"llama.rope.scaling.factor": 0.0},
    "window 1": {"llama.context_length": 1},
}
"""Of a llama; ARCH stands for an architecture."""
SLIDING_CHANGES: Mapping[str, Mapping[str, object]] = {
    **BOTH,
    "pattern": {"cohere2.attention.sliding_window_pattern": 1},
    "sliding keys": {"cohere2.attention.key_length_swa": 8},
    "sliding rotated": {"cohere2.rope.dimension_count_swa": 3},
    "nothing rotated": {"cohere2.rope.dimension_count": 0},
    "logit scale": {"cohere2.logit_scale": math.nan},
}
BERT_CHANGES: Mapping[str, Mapping[str, object]] = {
    **BOTH,
    "rank": {"bert.pooling_type": 4},
    "end": {"tokenizer.ggml.model": "t5", "tokenizer.ggml.eos_token_id": 1 << 31},
    "epsilon negative": {"bert.attention.layer_norm_epsilon": -1.0},
}


def damaged(
    source: Path, folder: Path, architecture: str, changes: Mapping[str, Mapping[str, object]]
) -> Iterator[Path]:
    """Yield a copy of `source` for each of `changes`."""
    for name, pairs in changes.items():
        own = {key.replace("ARCH", architecture): value for key, value in pairs.items()}
        yield patched(source, folder / f"{architecture} {name}.gguf", own)


def flipped(source: Path, folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Yield `count` copies of `source` with a few bytes changed, most of them in its header."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    data = source.read_bytes()
    tensors = data.find(b"token_embd.weight")
    places = ((24, 1400), (tensors - 200, tensors + 1200), (24, len(data)))
    for number in range(count):
        start, end = places[number % len(places)]
        at = chance.randrange(start, min(end, len(data) - 8))
        change = chance.choice((b"\0", b"\xff", b"\x80", chance.randbytes(4), chance.randbytes(8)))
        path = folder / f"{source.stem} {seed} {number}.gguf"
        path.write_bytes(data[:at] + change + data[at + len(change) :])
        yield path
