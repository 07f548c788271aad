"""A file in the shape of a 7B model: its load, its answers, and less than 10 GB of memory.

Random weights take as long to compute as trained ones. The shape is that of Llama 2 7B (Touvron et
al. 2023, https://arxiv.org/abs/2307.09288) at Q4_0, with the vocabulary of the embedded model.
Invariant: the file is in a temporary folder and is deleted afterwards.
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

from ..machine import resident_bytes
from ..report import Figure, Settings
from .engine import answer, engine_on, request, stories
from .peers import python_peer

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


async def large_shape(path: Path, settings: Settings) -> list[Figure]:
    """Measure load, output and memory of a 7B shape with the vocabulary of the model at `path`."""
    name = "7B-shaped: load"
    if settings.quick:
        return [_not_taken(name, "not measured with --quick: it takes minutes and 4 GB of disk")]
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < _DISK_BYTES:
            return [_not_taken(name, f"{folder!r} has less than 6 GB of free space")]
        file = Path(folder) / "large.gguf"
        await anyio.to_thread.run_sync(write_shape, file, path)
        return await _measured(file)


def _not_taken(name: str, note: str) -> Figure:
    return Figure(name=name, value=None, unit="s", note=note)


async def _measured(file: Path) -> list[Figure]:
    async with engine_on(file, window=USED_WINDOW, parallel=1) as engine:
        begun = time.perf_counter()
        await engine.load()
        load_s = time.perf_counter() - begun
        await answer(engine, request("Hello", tokens=TOKENS))  # the engine tunes its threads
        begun = time.perf_counter()
        reply = await answer(engine, request(stories(1)[0], tokens=TOKENS))
        assert reply.usage is not None
        ours = reply.usage.output_tokens / (time.perf_counter() - begun)
        resident = resident_bytes()
    with python_peer("class", file, USED_WINDOW) as peer:
        theirs = await anyio.to_thread.run_sync(peer, stories(1), TOKENS)
    size = (await anyio.Path(file).stat()).st_size
    note = (
        f"{size / 1e9:.1f} GB of Q4_0, {LAYERS} layers, a window of {USED_WINDOW} tokens; "
        "includes the rearrangement of the weights for the processor by llama.cpp"
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
            note="of the whole process, including the mapped pages of the file",
        ),
    ]


def write_shape(
    path: Path, real: Path, *, layers: int = LAYERS, width: int = WIDTH, hidden: int = HIDDEN
) -> None:
    """Write a model to `path` with random weights and the vocabulary of `real`. Blocking."""
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
    noise = _blocks(random.Random(7))  # noqa: S311 - weights, not secrets
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


def _blocks(rng: random.Random) -> bytes:
    """Return Q4_0 blocks (a 16-bit scale, 32 values of 4 bits) in the range of trained weights."""
    scale, noise = struct.pack("<e", 0.005), rng.randbytes(_NOISE)
    return b"".join(scale + noise[at : at + 16] for at in range(0, _NOISE, 16))


def _write(file: BinaryIO, shape: tuple[int, ...], noise: bytes) -> None:
    size = _size(shape)
    if len(shape) == 1:
        file.write(struct.pack(f"<{shape[0]}f", *[1.0] * shape[0]))
    else:
        repeats, rest = divmod(size, len(noise))
        file.writelines(noise for _ in range(repeats))
        file.write(noise[:rest])
    file.write(bytes(-size % 32))


def _tokenizer(real: Path) -> Iterator[bytes]:
    """Yield the metadata pairs of the tokenizer in the file `real`."""
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
    """Return the end of the value that begins at `at`."""
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
