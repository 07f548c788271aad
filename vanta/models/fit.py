"""Whether a model fits in memory, with the arithmetic shown.

need = file + KV cache (window x bytes a token, at 16 bits; an embedder has none) + compute buffers,
against the memory
that the system could still give (and what a container's limit leaves of it). Invariant: a fact that
is not known is never made up: the verdict is then None, or the arithmetic says what was estimated.
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
    """What of a model decides on its memory; `measured` is False for an estimated file_bytes."""

    file_bytes: int | None
    kv_bytes_per_token: int | None
    vocabulary: int | None
    window: int
    measured: bool = True


def judge(shape: Shape, free_bytes: int | None) -> Fit:
    """Whether a model of this shape fits into `free_bytes` (None: not known)."""
    if shape.file_bytes is None or shape.kv_bytes_per_token is None:
        lacking = "file's size" if shape.file_bytes is None else "KV cache's size"
        return Fit(None, None, free_bytes, f"the {lacking} is known only once the model is here")
    kv = shape.window * shape.kv_bytes_per_token
    buffers = _BATCH * 4 * (shape.vocabulary or _UNKNOWN_VOCABULARY)
    need = shape.file_bytes + kv + buffers
    label = "file" if shape.measured else "file (estimated)"
    cache = (
        f"{megabytes(kv)} KV cache ({shape.window} tokens x {shape.kv_bytes_per_token} bytes) + "
    )
    text = (
        f"{megabytes(shape.file_bytes)} {label} + {cache if kv else ''}"
        f"{megabytes(buffers)} buffers = {megabytes(need)}"
    )
    if free_bytes is None:
        return Fit(None, need, None, f"{text}; the free memory is not known on this system")
    return Fit(need <= free_bytes, need, free_bytes, f"{text} of {megabytes(free_bytes)} free")


def estimated_size(parameters: int | None, quantisation: str) -> int | None:
    """The size of a file in bytes from its weights alone; None where that cannot be said."""
    bits = _BITS_PER_WEIGHT.get(quantisation)
    return None if parameters is None or bits is None else round(parameters * bits / 8)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that a new model could take; None where the system does not say.

    root: where `proc` and `sys` are mounted.
    """
    limits = [_meminfo(root / "proc/meminfo"), _cgroup(root / "sys/fs/cgroup")]
    known = [value for value in limits if value is not None]
    return min(known) if known else _from_sysconf()


def megabytes(count: int) -> str:
    """A number of bytes for a person, in decimal megabytes."""
    return f"{count / 1e6:,.1f} MB"


def _meminfo(path: Path) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def _cgroup(folder: Path) -> int | None:
    """What the limit of this container (cgroup version 2) leaves; None without a limit."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
        return None if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None


def _from_sysconf() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
