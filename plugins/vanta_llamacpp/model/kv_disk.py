"""KV cache on disk: the computed prefixes of sessions, restored after a restart.

A file holds one session's exact prefix: its tokens and llama.cpp's state of the sequence. It is
written under another name and renamed, so that a process can die at any moment. The files contain
conversations, as transcripts do, and only their owner can read them.
Invariant: only bytes that the same model saved under the same parameters are restored; any other
file is counted as refused and ignored. If disk or memory are full, nothing is saved or found: no
error leaves this module.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import hashlib
import logging
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_log = logging.getLogger("vanta.llamacpp")
MAGIC = b"VKV1"
_DIGEST = 32
_HEAD = struct.Struct(f"<4s{_DIGEST}s{_DIGEST}sIQ")
_SAMPLES, _SAMPLE = 64, 1 << 16
_NO_USE = (OSError, MemoryError, ValueError)
"""Raised by full disks, full memory, and session names that are not Unicode."""


@dataclass(frozen=True, slots=True)
class SavedPrefix:
    """A saved prefix: its file, its tokens, and digest and size of its state."""

    path: Path
    tokens: tuple[int, ...]
    digest: bytes
    size: int


class SavedPrefixes:
    """The saved prefixes of one loaded model, at most `most_bytes` in `folder`."""

    def __init__(
        self, folder: Path, lib: Any, context: Any, *, model: Path, parameters: str, most_bytes: int
    ) -> None:
        self._folder = folder
        self._lib = lib
        self._context = context
        self._model = hashlib.blake2b(_encoded(model), digest_size=8).hexdigest()
        self._fingerprint = fingerprint(model, parameters)
        self._most_bytes = most_bytes
        self.saved = 0
        self.restored = 0
        self.refused = 0
        self._clean()

    def save(self, session: str, sequence: int, tokens: Sequence[int]) -> bool:
        """Save the state of a sequence, whose tokens are `tokens`. Returns whether it was saved."""
        with contextlib.suppress(*_NO_USE):
            size = int(self._lib.llama_state_seq_get_size(self._context, sequence))
            state = (ctypes.c_uint8 * size)()
            if self._lib.llama_state_seq_get_data(self._context, state, size, sequence) != size:
                return False
            body = array.array("i", tokens).tobytes()
            head = _HEAD.pack(MAGIC, self._fingerprint, _digest(body, state), len(tokens), size)
            self._write(self._path(session), head, body, state)
            self.saved += 1
            self._prune()
            return True
        return False

    def to_dict(self) -> dict[str, int]:
        """JSON-ready, for statistics."""
        return {"saved": self.saved, "restored": self.restored, "refused": self.refused}

    def find(self, session: str) -> SavedPrefix | None:
        """Return the saved prefix of `session`, without its state, or None."""
        try:
            path = self._path(session)
            with path.open("rb") as file:
                prefix = self._read(path, file)
        except FileNotFoundError:
            return None
        except _NO_USE:
            prefix = None
        self.refused += prefix is None
        return prefix

    def restore(self, prefix: SavedPrefix, sequence: int) -> bool:
        """Load a saved prefix into an empty sequence.

        Returns False, and leaves the sequence empty, if the file has changed.
        """
        lib, state = self._lib, _state_of(prefix)
        if state and lib.llama_state_seq_set_data(self._context, state, prefix.size, sequence):
            self.restored += 1
            with contextlib.suppress(OSError):
                os.utime(prefix.path)
            return True
        lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), sequence, -1, -1)
        self.refused += 1
        return False

    def _read(self, path: Path, file: BinaryIO) -> SavedPrefix | None:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        magic, fingerprint, digest, count, size = _HEAD.unpack(head)
        length = os.fstat(file.fileno()).st_size
        if (magic, fingerprint) != (MAGIC, self._fingerprint):
            return None
        if length != _HEAD.size + 4 * count + size:
            return None
        tokens = array.array("i")
        tokens.frombytes(file.read(4 * count))
        return SavedPrefix(path, tuple(tokens), digest, size)

    def _path(self, session: str) -> Path:
        name = hashlib.blake2b(session.encode(), digest_size=16).hexdigest()
        return self._folder / f"{self._model}-{name}.kv"

    def _write(self, path: Path, head: bytes, body: bytes, state: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with open(beside, "wb", opener=_private) as file:
                file.writelines((head, body, memoryview(state)))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _prune(self) -> None:
        """Delete the least recently used files until the rest fits."""
        total = 0
        stats = [(path.stat(), path) for path in self._folder.glob("*.kv")]
        for stat, path in sorted(stats, key=lambda pair: -pair[0].st_mtime_ns):
            total += stat.st_size
            if total > self._most_bytes:
                path.unlink(missing_ok=True)

    def _clean(self) -> None:
        """Remove the partial files of processes that have ended, as far as possible."""
        for path in self._folder.glob(f"{self._model}-*.kv.*"):
            if alive(path.suffix[1:]):
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning(
                    "the partial file %r of a process that has ended cannot be removed (%s). "
                    "Remove it.",
                    str(path),
                    error.strerror or error,
                )


def remove_all(folder: Path) -> None:
    """Remove the saved prefixes of all models. Raises OSError."""
    for path in folder.glob("*.kv*"):
        path.unlink(missing_ok=True)


def fingerprint(model: Path, parameters: str) -> bytes:
    """Return the fingerprint of a model's file and of parameters.

    Covers the size, the beginning, and samples from all over the file.
    """
    digest = hashlib.blake2b(parameters.encode(), digest_size=_DIGEST)
    with model.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(struct.pack("<Q", size))
        for number in range(_SAMPLES):
            file.seek(size * number // _SAMPLES)
            digest.update(file.read(_SAMPLE))
    return digest.digest()


def alive(process: str) -> bool:
    """Return whether a process with this id can be running.

    On Windows every id can: signal 0 would be a Ctrl-C to that process there.
    """
    try:
        number = int(process)
    except ValueError:
        return False
    if sys.platform == "win32":
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _state_of(prefix: SavedPrefix) -> Any:
    """Return the saved state as llama.cpp reads it; None if the file changed or is unreadable."""
    body = array.array("i", prefix.tokens).tobytes()
    try:
        data = prefix.path.read_bytes()[_HEAD.size + len(body) :]
        if len(data) != prefix.size:
            return None
        state = (ctypes.c_uint8 * prefix.size).from_buffer_copy(data)
        return state if _digest(body, state) == prefix.digest else None
    except _NO_USE:
        return None


def _digest(body: bytes, state: Any) -> bytes:
    digest = hashlib.blake2b(body, digest_size=_DIGEST)
    digest.update(memoryview(state))
    return digest.digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _encoded(path: Path) -> bytes:
    """Return a path as bytes, even if its name is not Unicode."""
    return str(path).encode("utf-8", "surrogatepass")
