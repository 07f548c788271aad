"""Writes a tiny model: random weights, the real vocabulary, so that thousands of requests take
seconds.

Everything but the shape is copied from the real file: tokenizer, special tokens, chat template.
The weights are Q4_1 as in the real file, so the same kernels compute.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from pathlib import Path

from vanta.models import Gguf, read_gguf

WIDTH, HIDDEN, HEADS, KV_HEADS, LAYERS, WINDOW = 64, 128, 4, 2, 2, 8192
INNER, STATE, RANK, KERNEL = 2 * WIDTH, 16, 4, 4
_STRING, _ARRAY, _UINT32, _FLOAT32 = 8, 9, 4, 6
_F32, _Q4_1 = 0, 3
_ALIGNMENT = 32
_SHAPE: dict[str, str | float] = {
    "general.architecture": "llama",
    "general.name": "Random",
    "llama.block_count": LAYERS,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": HIDDEN,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.rope.dimension_count": WIDTH // HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 10_000.0,
}
_MAMBA: dict[str, str | float] = {
    "general.architecture": "mamba",
    "general.name": "Random",
    "mamba.block_count": LAYERS,
    "mamba.embedding_length": WIDTH,
    "mamba.feed_forward_length": 0,
    "mamba.attention.head_count": 0,
    "mamba.attention.layer_norm_rms_epsilon": 1e-5,
    "mamba.ssm.conv_kernel": KERNEL,
    "mamba.ssm.inner_size": INNER,
    "mamba.ssm.state_size": STATE,
    "mamba.ssm.time_step_rank": RANK,
}


def write_random_model(
    path: Path,
    real: Path,
    *,
    seed: int = 7,
    pooling: int | None = None,
    window: int = WINDOW,
    sliding: int | None = None,
    renamed: Mapping[str, str] | None = None,
    chat_template: str | None = None,
) -> Path:
    """Write a model to `path` with the vocabulary of the file `real`.

    :param pooling: llama.cpp's number of a pooling, or None for a model that cannot embed.
    :param sliding: the tokens of a sliding window (the architecture is then cohere2), or None.
    :param renamed: tokens whose text to replace, for example by that of another control token.
    :param chat_template: the template of the file, None for that of `real`.
    """
    header = read_gguf(real)
    pairs: dict[str, str | float] = {
        **_SHAPE,
        "llama.context_length": window,
        "llama.vocab_size": _vocabulary(header),
    }
    if pooling is not None:
        pairs["llama.pooling_type"] = pooling
    if sliding is not None:
        pairs = {key.replace("llama.", "cohere2."): value for key, value in pairs.items()}
        pairs |= {
            "general.architecture": "cohere2",
            "cohere2.attention.layer_norm_epsilon": 1e-5,
            "cohere2.attention.sliding_window": sliding,
            "cohere2.logit_scale": 1.0,
        }
    tensors = _tensors(_vocabulary(header))
    if sliding is not None:
        tensors = [tensor for tensor in tensors if "ffn_norm" not in tensor[0]]
    return _written(path, real, pairs, tensors, seed, renamed or {}, chat_template)


def write_random_mamba(path: Path, real: Path, *, window: int = WINDOW, seed: int = 7) -> Path:
    """A recurrent model: it has no KV cache, but a state that no token can be taken out of."""
    vocabulary = _vocabulary(read_gguf(real))
    pairs = {**_MAMBA, "mamba.context_length": window, "mamba.vocab_size": vocabulary}
    return _written(path, real, pairs, _mamba_tensors(vocabulary), seed, {})


def _written(
    path: Path,
    real: Path,
    pairs: dict[str, str | float],
    tensors: list[tuple[str, tuple[int, ...], int]],
    seed: int,
    renamed: Mapping[str, str],
    chat_template: str | None = None,
) -> Path:
    tokenizer = _tokenizer_bytes(real)
    if chat_template is not None:
        key = _text("tokenizer.chat_template")
        tokenizer = [pair for pair in tokenizer if not pair.startswith(key)]
        tokenizer.append(_pair("tokenizer.chat_template", chat_template))
    for old, new in renamed.items():
        tokenizer = [pair.replace(_text(old), _text(new)) for pair in tokenizer]
    count = len(pairs) + len(tokenizer)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count)
    head += b"".join(_pair(key, value) for key, value in pairs.items())
    head += b"".join(tokenizer)
    offset = 0
    for name, shape, kind in tensors:
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, offset)
        offset += _padded(_size(shape, kind))
    chance = random.Random(seed)  # noqa: S311 - weights, no secrets
    with path.open("wb") as file:
        file.write(head + bytes(_padded(len(head)) - len(head)))
        for name, shape, kind in tensors:
            data = _floats(name, shape, chance) if kind == _F32 else _blocks(shape, chance)
            file.write(data + bytes(_padded(len(data)) - len(data)))
    return path


def _tensors(vocabulary: int) -> list[tuple[str, tuple[int, ...], int]]:
    kv = WIDTH // HEADS * KV_HEADS
    shapes: list[tuple[str, tuple[int, ...], int]] = [
        ("token_embd.weight", (WIDTH, vocabulary), _Q4_1),
        ("output_norm.weight", (WIDTH,), _F32),
    ]
    for layer in range(LAYERS):
        shapes += [
            (f"blk.{layer}.attn_norm.weight", (WIDTH,), _F32),
            (f"blk.{layer}.attn_q.weight", (WIDTH, WIDTH), _Q4_1),
            (f"blk.{layer}.attn_k.weight", (WIDTH, kv), _Q4_1),
            (f"blk.{layer}.attn_v.weight", (WIDTH, kv), _Q4_1),
            (f"blk.{layer}.attn_output.weight", (WIDTH, WIDTH), _Q4_1),
            (f"blk.{layer}.ffn_norm.weight", (WIDTH,), _F32),
            (f"blk.{layer}.ffn_gate.weight", (WIDTH, HIDDEN), _Q4_1),
            (f"blk.{layer}.ffn_up.weight", (WIDTH, HIDDEN), _Q4_1),
            (f"blk.{layer}.ffn_down.weight", (HIDDEN, WIDTH), _Q4_1),
        ]
    return shapes


def _mamba_tensors(vocabulary: int) -> list[tuple[str, tuple[int, ...], int]]:
    shapes: list[tuple[str, tuple[int, ...], int]] = [
        ("token_embd.weight", (WIDTH, vocabulary), _Q4_1),
        ("output_norm.weight", (WIDTH,), _F32),
    ]
    for layer in range(LAYERS):
        shapes += [
            (f"blk.{layer}.attn_norm.weight", (WIDTH,), _F32),
            (f"blk.{layer}.ssm_in.weight", (WIDTH, 2 * INNER), _Q4_1),
            (f"blk.{layer}.ssm_conv1d.weight", (KERNEL, INNER), _F32),
            (f"blk.{layer}.ssm_conv1d.bias", (INNER,), _F32),
            (f"blk.{layer}.ssm_x.weight", (INNER, RANK + 2 * STATE), _Q4_1),
            (f"blk.{layer}.ssm_dt.weight", (RANK, INNER), _F32),
            (f"blk.{layer}.ssm_dt.bias", (INNER,), _F32),
            (f"blk.{layer}.ssm_a", (STATE, INNER), _F32),
            (f"blk.{layer}.ssm_d", (INNER,), _F32),
            (f"blk.{layer}.ssm_out.weight", (INNER, WIDTH), _Q4_1),
        ]
    return shapes


def _size(shape: tuple[int, ...], kind: int) -> int:
    values = shape[0] * (shape[1] if len(shape) > 1 else 1)
    return values * 4 if kind == _F32 else values // 32 * 20


def _floats(name: str, shape: tuple[int, ...], chance: random.Random) -> bytes:
    """Ones for a vector; else noise, below 0 for what a state fades by. What goes into a state is
    small: its square comes out, and has to fit into 16 bits."""
    if len(shape) == 1:
        value = 0.2 if "ssm" in name else 1.0
        return struct.pack(f"<{shape[0]}f", *([value] * shape[0]))
    low, high = (-0.6, -0.1) if "ssm_a" in name else (-0.1, 0.1)
    count = shape[0] * shape[1]
    return struct.pack(f"<{count}f", *(chance.uniform(low, high) for _ in range(count)))


def _blocks(shape: tuple[int, ...], chance: random.Random) -> bytes:
    """Q4_1: scale and minimum in 16 bits, then 32 values of 4 bits; about -1 to 1."""
    scale = struct.pack("<ee", 2 / 15, -1.0)
    blocks = shape[0] * shape[1] // 32
    noise = chance.randbytes(blocks * 16)
    return b"".join(scale + noise[at : at + 16] for at in range(0, len(noise), 16))


def _vocabulary(header: Gguf) -> int:
    return header.tensors["token_embd.weight"].shape[1]


def _tokenizer_bytes(real: Path) -> list[bytes]:
    """The tokenizer's metadata pairs of a GGUF file, as they stand there."""
    with real.open("rb") as file:
        data = file.read(8_000_000)
    at, found = 24, []
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        begin = at
        length = struct.unpack_from("<Q", data, at)[0]
        key = data[at + 8 : at + 8 + length]
        kind = struct.unpack_from("<I", data, at + 8 + length)[0]
        at = _skip(data, at + 12 + length, kind)
        if key.startswith(b"tokenizer."):
            found.append(data[begin:at])
    return found


def _skip(data: bytes, at: int, kind: int) -> int:
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    if kind == _STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind != _ARRAY:
        return at + sizes[kind]
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner != _STRING:
        return at + int(count) * sizes[inner]
    for _ in range(count):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
    return at


def _pair(key: str, value: str | float) -> bytes:
    if isinstance(value, str):
        return _text(key) + struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, int):
        return _text(key) + struct.pack("<II", _UINT32, value)
    return _text(key) + struct.pack("<If", _FLOAT32, value)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
