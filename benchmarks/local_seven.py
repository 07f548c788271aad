"""A file in the shape of a 7B model: loads, answers, and stays under 10 GB.

Random weights compute like any others. The shape is that of Llama 2 7B (Touvron et al. 2023,
https://arxiv.org/abs/2307.09288) at Q4_0, the vocabulary that of the embedded model. Invariant: the
file lies in a temporary folder and is gone afterwards.
"""

from __future__ import annotations

import random
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread

from vanta.models import read_gguf

from .local_ground import answer, engine_on, request, stories
from .local_peer import python_peer
from .machine import resident_bytes
from .report import Figure
from .settings import Settings

WIDTH, HIDDEN, HEADS, LAYERS, WINDOW = 4096, 11008, 32, 32, 4096
USED_WINDOW = 1024
TOKENS = 8
MEMORY_GOAL_GB = 10.0
_PEER = "llama-cpp-python's class Llama on the same file"
_DISK_BYTES = 6_000_000_000
_F32, _Q4_0 = 0, 2
_STRING, _ARRAY, _UINT32, _FLOAT32 = 8, 9, 4, 6
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_NOISE = 1 << 22


async def seven(path: Path, settings: Settings) -> list[Figure]:
    """Load, answer, memory; `path` is the file whose vocabulary is taken."""
    name = "7B-shaped: load"
    if settings.quick:
        return [_not_taken(name, "it takes minutes and 4 GB of disk: not with --quick")]
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < _DISK_BYTES:
            return [_not_taken(name, f"{folder!r} has no 6 GB free")]
        file = Path(folder) / "seven.gguf"
        await anyio.to_thread.run_sync(write_shape, file, path)
        return await _measured(file)


def _not_taken(name: str, note: str) -> Figure:
    return Figure(name=name, value=None, unit="s", note=note)


async def _measured(file: Path) -> list[Figure]:
    async with engine_on(file, window=USED_WINDOW, parallel=1) as engine:
        begun = time.perf_counter()
        await engine.load()
        load_s = time.perf_counter() - begun
        await answer(engine, request("Hello", tokens=TOKENS))  # it tries its threads out
        begun = time.perf_counter()
        told = await answer(engine, request(stories(1)[0], tokens=TOKENS))
        assert told.usage is not None
        ours = told.usage.output_tokens / (time.perf_counter() - begun)
        resident = resident_bytes()
    with python_peer("class", file, USED_WINDOW) as peer:
        theirs = await anyio.to_thread.run_sync(peer, stories(1), TOKENS)
    size = (await anyio.Path(file).stat()).st_size
    note = (
        f"{size / 1e9:.1f} GB of Q4_0, {LAYERS} layers, a window of {USED_WINDOW} tokens; "
        "llama.cpp's arranging of the weights for the processor included"
    )
    return [
        Figure(name="7B-shaped: load", value=load_s, unit="s", goal=5.0, note=note),
        Figure(
            name="7B-shaped: output, of the class Llama's",
            value=ours / theirs,
            unit="x",
            better="higher",
            goal=0.95,
            peer=_PEER,
            peer_value=1.0,
            note=f"tokens/s, prompt included, engine:peer {ours:.2f}:{theirs:.2f}",
        ),
        Figure(
            name="7B-shaped: resident memory",
            value=resident / 1e9,
            unit="GB",
            goal=MEMORY_GOAL_GB,
            note="of the whole process, the file's mapped pages among it",
        ),
    ]


def write_shape(
    path: Path, real: Path, *, layers: int = LAYERS, width: int = WIDTH, hidden: int = HIDDEN
) -> None:
    """A model at `path` with random weights and the vocabulary of `real`. Blocking."""
    vocabulary = read_gguf(real).tensors["token_embd.weight"].shape[1]
    tensors = dict(_tensors(vocabulary, layers, width, hidden))
    pairs = [*_shape(layers, width, hidden, vocabulary), *_tokenizer(real)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    offset = 0
    for name, shape in tensors.items():
        kind = _Q4_0 if len(shape) > 1 else _F32
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, offset)
        offset += _size(shape) + -_size(shape) % 32
    noise = _blocks(random.Random(7))  # noqa: S311 - weights, no secrets
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for shape in tensors.values():
            _write(file, shape, noise)


def _tensors(
    vocabulary: int, layers: int, width: int, hidden: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (width, vocabulary)
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (width, width)
        yield f"blk.{layer}.ffn_gate.weight", (width, hidden)
        yield f"blk.{layer}.ffn_up.weight", (width, hidden)
        yield f"blk.{layer}.ffn_down.weight", (hidden, width)
        yield f"blk.{layer}.attn_norm.weight", (width,)
        yield f"blk.{layer}.ffn_norm.weight", (width,)
    yield "output_norm.weight", (width,)
    yield "output.weight", (width, vocabulary)


def _shape(layers: int, width: int, hidden: int, vocabulary: int) -> Iterator[bytes]:
    yield _text("general.architecture") + struct.pack("<I", _STRING) + _text("llama")
    heads = max(1, width * HEADS // WIDTH)
    numbers = {
        "block_count": layers,
        "context_length": WINDOW,
        "embedding_length": width,
        "feed_forward_length": hidden,
        "attention.head_count": heads,
        "attention.head_count_kv": heads,
        "rope.dimension_count": width // heads,
        "vocab_size": vocabulary,
    }
    for key, value in numbers.items():
        yield _text(f"llama.{key}") + struct.pack("<II", _UINT32, value)
    epsilon = struct.pack("<If", _FLOAT32, 1e-5)
    yield _text("llama.attention.layer_norm_rms_epsilon") + epsilon


def _size(shape: tuple[int, ...]) -> int:
    return shape[0] * 4 if len(shape) == 1 else shape[0] * shape[1] // 32 * 18


def _blocks(chance: random.Random) -> bytes:
    """Q4_0: a scale in 16 bits, then 32 values of 4 bits; about as large as trained weights."""
    scale, noise = struct.pack("<e", 0.005), chance.randbytes(_NOISE)
    return b"".join(scale + noise[at : at + 16] for at in range(0, _NOISE, 16))


def _write(file: BinaryIO, shape: tuple[int, ...], noise: bytes) -> None:
    size = _size(shape)
    if len(shape) == 1:
        file.write(struct.pack(f"<{shape[0]}f", *[1.0] * shape[0]))
    else:
        whole, rest = divmod(size, len(noise))
        file.writelines(noise for _ in range(whole))
        file.write(noise[:rest])
    file.write(bytes(-size % 32))


def _tokenizer(real: Path) -> Iterator[bytes]:
    """The tokenizer's metadata pairs, as they stand in the file `real`, which was read before."""
    with real.open("rb") as file:
        data = file.read(32_000_000)
    at = 24
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        begin = at
        length = struct.unpack_from("<Q", data, at)[0]
        kind = struct.unpack_from("<I", data, at + 8 + length)[0]
        at = _skip(data, at + 12 + length, kind)
        if data.startswith(b"tokenizer.", begin + 8):
            yield data[begin:at]


def _skip(data: bytes, at: int, kind: int) -> int:
    """Where a value that begins at `at` ends."""
    if kind == _STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind != _ARRAY:
        return at + _SIZES[kind]
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner != _STRING:
        return at + int(count) * _SIZES[inner]
    for _ in range(count):
        at = _skip(data, at, _STRING)
    return at


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()
