"""Writes small GGUF files, right ones and wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

TOKENS = 70


def text(value: str) -> bytes:
    """A string with its length."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, value: float | str | bytes | Sequence[str] | Sequence[int]) -> bytes:
    """A metadata pair: bool, int as uint32, float, str, bytes, a list of str or of int32."""
    head = text(key)
    if isinstance(value, bool):
        return head + struct.pack("<I?", 7, value)
    if isinstance(value, bytes):
        return head + struct.pack("<IIQ", 9, 0, len(value)) + value
    if isinstance(value, int | float):
        code, kind = ("I", 4) if isinstance(value, int) else ("f", 6)
        return head + struct.pack(f"<I{code}", kind, value)
    if isinstance(value, str):
        return head + struct.pack("<I", 8) + text(value)
    if all(isinstance(item, str) for item in value):
        items = b"".join(text(str(item)) for item in value)
        return head + struct.pack("<IIQ", 9, 8, len(value)) + items
    return head + struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    """A tensor's entry."""
    return (
        text(name)
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", kind, offset)
    )


def metadata(**changes: object) -> dict[str, object]:
    """Of a small model; keys with `__` for dots, None removes."""
    values: dict[str, object] = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.file_type": 1,
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "llama.attention.head_count": 4,
        "tokenizer.ggml.tokens": [f"t{number}" for number in range(TOKENS)],
        "tokenizer.ggml.token_type": [1] * TOKENS,
        "tokenizer.ggml.bos_token_id": 1,
    }
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in values.items() if value is not None}


def gguf(
    *,
    pairs: dict[str, object] | None = None,
    tensors: Sequence[bytes] | None = None,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 32 * TOKENS * 2 + 128,
) -> bytes:
    """A whole file: one embedding tensor in 16 bits, one norm in 32."""
    values = metadata() if pairs is None else pairs
    entries = (
        tensor("token_embd.weight", (32, TOKENS), 1, 0),
        tensor("output_norm.weight", (32,), 0, 32 * TOKENS * 2),
    )
    chosen = entries if tensors is None else tensors
    head = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(chosen), len(values))))
    head += b"".join(pair(key, value) for key, value in values.items())  # type: ignore[arg-type]
    head += b"".join(chosen)
    return head + b"\0" * (-len(head) % 32) + b"\0" * data


def write(folder: Path, content: bytes) -> Path:
    """A file with `content`."""
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def patched(source: Path, target: Path, changes: dict[str, object]) -> Path:
    """A copy of the file `source` at `target`, with other values under the keys of `changes`. What
    stood there goes on under a key that nobody knows; a last pair keeps the alignment."""
    data = source.read_bytes()
    for key in changes:
        data = data.replace(text(key), text(key[:-1] + "~"), 1)
    pairs = b"".join(pair(key, value) for key, value in changes.items())  # type: ignore[arg-type]
    size = len(pairs) + len(pair("filler", ""))
    pairs += pair("filler", "." * (-size % 32))
    (count,) = struct.unpack_from("<Q", data, 16)
    head = data[:16] + struct.pack("<Q", count + len(changes) + 1)
    target.write_bytes(head + pairs + data[24:])
    return target
