"""Whether a model fits in memory, with the arithmetic shown.

need = file + KV cache (window x bytes a token, at 16 bits; an embedder has none) + compute buffers
(logits, and the attention matrix where it is written out), against the memory that the system could
still give (and what a container's limit leaves of it). Layers on a GPU take no RAM; what the GPU
has free is not looked at. Invariant: a fact that is not known is never made up: the verdict is then
None, or the arithmetic says what was estimated.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEFAULT_WINDOW = 8192
"""Tokens that a verdict is for where nobody asked for another window (or the model's, if less)."""

_BATCH = 512  # llama.cpp's n_ubatch: its compute buffer holds 32-bit logits for so many tokens
_UNKNOWN_VOCABULARY = 128_256
_NO_LIMIT = 1 << 62  # cgroup version 1 has no word for it: a limit beyond all memory is none
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
    """A verdict: `fits` is None where a fact is missing; `arithmetic` is a line for a person."""

    fits: bool | None
    need_bytes: int | None
    free_bytes: int | None
    arithmetic: str

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides on its memory; `measured` is False for an estimated file_bytes.

    kv_bytes_per_token: 0 for a model without a KV cache, None if not known. window: tokens, of all
    sequences together. attention_bytes: see `attention`. gpu_layers: so many of `layers` are on a
    GPU, with their weights and their KV cache.
    """

    file_bytes: int | None
    kv_bytes_per_token: int | None
    vocabulary: int | None
    window: int
    measured: bool = True
    attention_bytes: int = 0
    layers: int = 1
    gpu_layers: int = 0


def judge(shape: Shape, free_bytes: int | None) -> Fit:
    """Whether a model of this shape fits into `free_bytes` of RAM (None: not known)."""
    if shape.file_bytes is None or shape.kv_bytes_per_token is None:
        lacking = "file's size" if shape.file_bytes is None else "KV cache's size"
        return Fit(None, None, free_bytes, f"the {lacking} is known only once the model is here")
    stay = max(0, shape.layers - shape.gpu_layers)
    file = _share(shape.file_bytes, stay, shape.layers)
    kv = _share(shape.window * shape.kv_bytes_per_token, stay, shape.layers)
    buffers = _BATCH * 4 * (shape.vocabulary or _UNKNOWN_VOCABULARY)
    buffers += shape.attention_bytes if stay else 0
    need = file + kv + buffers
    text = f"{_terms(shape, file, kv, stay)}{megabytes(buffers)} buffers = {megabytes(need)}"
    if free_bytes is None:
        return Fit(None, need, None, f"{text}; the free memory is not known on this system")
    return Fit(need <= free_bytes, need, free_bytes, f"{text} of {megabytes(free_bytes)} free")


def attention(tokens: int, window: int, heads: int) -> int:
    """Bytes that a step of `tokens` tokens takes for attention without flash attention.

    For each token, cell of the window and head a number of 32 bits (the scores), and its copy at 16
    bits, which llama.cpp multiplies with the values; for each token and cell one of the mask. All
    layers use the same buffer, one after the other. Measured with SmolLM2 135M (9 heads): 512
    tokens upon 8,192 cells took 166 MiB of buffer and 75 MB for the copies.
    """
    return tokens * window * (heads * (4 + 2) + 4)


def estimated_size(parameters: int | None, quantisation: str) -> int | None:
    """The size of a file in bytes from its weights alone; None where that cannot be said."""
    bits = _BITS_PER_WEIGHT.get(quantisation)
    return None if parameters is None or bits is None else round(parameters * bits / 8)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that a new model could take; None where the system does not say.

    root: where `proc` and `sys` are mounted.
    """
    limits = [_kilobytes(root / "proc/meminfo", "MemAvailable:"), _cgroup(root / "sys/fs/cgroup")]
    known = [value for value in limits if value is not None]
    return min(known) if known else _from_sysconf()


def mapped_memory(root: Path = Path("/")) -> int:
    """Bytes of files that this process has mapped and that lie in memory; 0 where the system does
    not say. `free_memory` takes them for free, as the system does: file cache can be dropped."""
    return _kilobytes(root / "proc/self/status", "RssFile:") or 0


def megabytes(count: int) -> str:
    """A number of bytes for a person, in decimal megabytes."""
    return f"{count / 1e6:,.1f} MB"


def _share(count: int, part: int, whole: int) -> int:
    """count x part / whole, rounded up."""
    return -(-count * part // whole)


def _terms(shape: Shape, file: int, kv: int, stay: int) -> str:
    """File and KV cache as the arithmetic shows them."""
    share = f" x {stay}/{shape.layers} layers" if stay < shape.layers else ""
    label = "file" if shape.measured else "file (estimated)"
    whole = f" ({megabytes(shape.file_bytes or 0)}{share})" if share else ""
    tokens = f"{shape.window} tokens x {shape.kv_bytes_per_token} bytes{share}"
    cache = f"{megabytes(kv)} KV cache ({tokens}) + " if kv else ""
    return f"{megabytes(file)} {label}{whole} + {cache}"


def _kilobytes(path: Path, label: str) -> int | None:
    """What the line that begins with `label` says, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(label)]
    return int(found[0][1]) * 1024 if found else None


def _cgroup(folder: Path) -> int | None:
    """What the limit of this container leaves (cgroup version 2, else 1); None without a limit."""
    second = _left(folder, "memory.max", "memory.current", "")
    if second is not None:
        return second
    return _left(
        folder / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", prefix="total_"
    )


def _left(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    """limit - usage, of which file cache is no part: it is dropped when memory is wanted, so that
    to read a file takes none. None without a limit."""
    try:
        most = (folder / limit).read_text(encoding="ascii").strip()
        used = int((folder / usage).read_text(encoding="ascii"))
        if most == "max" or int(most) >= _NO_LIMIT:
            return None
        return max(0, int(most) - max(0, used - _file_cache(folder / "memory.stat", prefix)))
    except (OSError, ValueError):
        return None


def _file_cache(path: Path, prefix: str) -> int:
    """Bytes of file cache as `memory.stat` counts them, 0 where it cannot be read. Files that are
    held in memory (tmpfs) are not among them."""
    try:
        pairs = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError):
        return 0
    wanted = {f"{prefix}inactive_file", f"{prefix}active_file"}
    found = [pair[1] for pair in pairs if len(pair) == 2 and pair[0] in wanted]
    return sum(int(count) for count in found if count.isdecimal())


def _from_sysconf() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
