"""Whether a model fits into memory, with the arithmetic.

need = file + KV cache (window x bytes per token at 16 bits; an embedder has none) + compute buffers
(logits, and the attention matrix if it is materialised), compared with the memory that the system
can still provide within a container's limit. Layers on a GPU take no RAM; the GPU's own memory is
not checked. Invariant: an unknown fact is never guessed: the verdict is then None, or the
arithmetic marks the estimate.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vanta.concurrency import address_space_left

DEFAULT_WINDOW = 8192
"""Tokens of window for a verdict without a given one, unless the model's is smaller."""

_BATCH = 512  # llama.cpp's n_ubatch: its compute buffer holds 32-bit logits for so many tokens
_UNKNOWN_VOCABULARY = 128_256
_NO_LIMIT = 1 << 62  # cgroup version 1 writes "no limit" as a number beyond all memory
_BITS_PER_WEIGHT = {
    "F16": 16.0,
    "Q8_0": 8.5,
    "Q5_K_M": 5.7,
    "Q4_K_M": 4.85,
    "Q4_1": 5.0,
    "Q4_0": 4.5,
}


@dataclass(frozen=True, slots=True)
class Fit:
    """A verdict.

    :param fits: None if a fact is missing.
    :param need_bytes: memory that the model needs, or None if unknown.
    :param free_bytes: memory that is free, or None if unknown.
    :param arithmetic: the calculation as a line for people.
    """

    fits: bool | None
    need_bytes: int | None
    free_bytes: int | None
    arithmetic: str

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The properties of a model that determine its memory.

    :param file_bytes: size of the file, or None if unknown.
    :param kv_bytes_per_token: 0 for a model without a KV cache, None if unknown.
    :param vocabulary: number of tokens, or None if unknown.
    :param window: tokens of all sequences together.
    :param measured: `file_bytes` is a real size, not an estimate.
    :param attention_bytes: see the function `attention_bytes`.
    :param layers: number of layers.
    :param gpu_layers: layers on a GPU, with their weights and KV cache.
    """

    file_bytes: int | None
    kv_bytes_per_token: int | None
    vocabulary: int | None
    window: int
    measured: bool = True
    attention_bytes: int = 0
    layers: int = 1
    gpu_layers: int = 0


def judge(shape: ModelShape, free_bytes: int | None) -> Fit:
    """Return whether a model fits into memory.

    :param shape: the model.
    :param free_bytes: free RAM, or None if unknown.
    """
    if shape.file_bytes is None or shape.kv_bytes_per_token is None:
        lacking = "file's size" if shape.file_bytes is None else "KV cache's size"
        return Fit(
            None, None, free_bytes, f"the {lacking} is unknown until the model is downloaded"
        )
    stay = max(0, shape.layers - shape.gpu_layers)
    file = _share(shape.file_bytes, stay, shape.layers)
    kv = _share(shape.window * shape.kv_bytes_per_token, stay, shape.layers)
    buffers = _BATCH * 4 * (shape.vocabulary or _UNKNOWN_VOCABULARY)
    buffers += shape.attention_bytes if stay else 0
    need = file + kv + buffers
    text = f"{_terms(shape, file, kv, stay)}{megabytes(buffers)} buffers = {megabytes(need)}"
    if free_bytes is None:
        return Fit(None, need, None, f"{text}; the free memory is unknown on this system")
    return Fit(need <= free_bytes, need, free_bytes, f"{text} of {megabytes(free_bytes)} free")


def attention_bytes(tokens: int, window: int, heads: int) -> int:
    """Return the bytes that one step takes for attention without flash attention.

    There is a score of 32 bits for each token, cell of the window and head, its copy at 16 bits,
    which llama.cpp multiplies by the values, and one number of the mask for each token and cell.
    All layers use the same buffer in turn. Measured with SmolLM2 135M (9 heads): 512 tokens on
    8,192 cells took 166 MiB of buffer and 75 MB for the copies.

    :param tokens: tokens of the step.
    :param window: cells of the KV cache.
    :param heads: attention heads of a layer.
    """
    return tokens * window * (heads * (4 + 2) + 4)


def estimated_size(parameters: int | None, quantisation: str) -> int | None:
    """Return the bytes of a file, estimated from its weights; None if they are unknown."""
    bits = _BITS_PER_WEIGHT.get(quantisation)
    return None if parameters is None or bits is None else round(parameters * bits / 8)


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that a new model can take, or None if the system does not tell.

    :param root: where `proc` and `sys` are mounted.
    """
    limits = [
        _kilobytes(root / "proc/meminfo", "MemAvailable:"),
        _cgroup(root / "sys/fs/cgroup"),
        address_space_left(root),
    ]
    known = [value for value in limits if value is not None]
    return min(known) if known else _from_sysconf()


def mapped_memory(root: Path = Path("/")) -> int:
    """Return the bytes of mapped files of this process that are in memory; 0 if unknown.

    `free_memory` counts them as free, as the system does: file cache can be dropped.

    :param root: where `proc` and `sys` are mounted.
    """
    return _kilobytes(root / "proc/self/status", "RssFile:") or 0


def megabytes(count: int) -> str:
    """Return a number of bytes for people, in decimal megabytes.

    :param count: bytes.
    """
    return f"{count / 1e6:,.1f} MB"


def _share(count: int, part: int, whole: int) -> int:
    """Return count x part / whole, rounded up."""
    return -(-count * part // whole)


def _terms(shape: ModelShape, file: int, kv: int, stay: int) -> str:
    """Return file and KV cache as the arithmetic shows them."""
    share = f" x {stay}/{shape.layers} layers" if stay < shape.layers else ""
    label = "file" if shape.measured else "file (estimated)"
    whole = f" ({megabytes(shape.file_bytes or 0)}{share})" if share else ""
    tokens = f"{shape.window} tokens x {shape.kv_bytes_per_token} bytes{share}"
    cache = f"{megabytes(kv)} KV cache ({tokens}) + " if kv else ""
    return f"{megabytes(file)} {label}{whole} + {cache}"


def _kilobytes(path: Path, label: str) -> int | None:
    """Return the number on the line that begins with `label`, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    matches = [line.split() for line in lines if line.startswith(label)]
    return int(matches[0][1]) * 1024 if matches else None


def _cgroup(folder: Path) -> int | None:
    """Return what this container's limit leaves (cgroup version 2, or 1), or None."""
    second = _left(folder, "memory.max", "memory.current", "")
    if second is not None:
        return second
    return _left(
        folder / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", prefix="total_"
    )


def _left(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    """Return limit - usage, or None without a limit.

    File cache does not count as usage, because it is dropped when memory is needed.
    """
    try:
        most = (folder / limit).read_text(encoding="ascii").strip()
        used = int((folder / usage).read_text(encoding="ascii"))
        if most == "max" or int(most) >= _NO_LIMIT:
            return None
        return max(0, int(most) - max(0, used - _file_cache(folder / "memory.stat", prefix)))
    except (OSError, ValueError):
        return None


def _file_cache(path: Path, prefix: str) -> int:
    """Return the bytes of file cache in `memory.stat`, tmpfs excluded; 0 if unreadable."""
    try:
        pairs = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError):
        return 0
    wanted = {f"{prefix}inactive_file", f"{prefix}active_file"}
    counts = [pair[1] for pair in pairs if len(pair) == 2 and pair[0] in wanted]
    return sum(int(count) for count in counts if count.isdecimal())


def _from_sysconf() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
