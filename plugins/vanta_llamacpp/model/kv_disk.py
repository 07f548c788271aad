"""KV cache on disk: what a session's prompts were computed to, found again after a restart.

A file holds one session's exact prefix: its tokens and llama.cpp's state of the sequence. It is
written beside its place and moved there whole, so that a process may die at any moment.
Invariant: nothing comes back but what was saved, byte for byte, by the same model under the same
parameters; whatever else is found is counted as refused, and as if it were not there. A disk or a
memory without room means that nothing is saved or found: no error leaves here.

The files hold what was said, as the transcripts do; they are readable by their owner only.
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
"""What a disk, a memory and a session's name that is no Unicode raise."""


@dataclass(frozen=True, slots=True)
class Found:
    """A saved prefix: its tokens, and where its state begins in which file."""

    path: Path
    tokens: tuple[int, ...]
    digest: bytes
    size: int


class SavedPrefixes:
    """The saved prefixes of one loaded model, in `folder`, `most_bytes` of them at the most."""

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
        """Keep `tokens`, all that the sequence holds. A disk that is full or gone keeps nothing."""
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

    def find(self, session: str) -> Found | None:
        """What is saved of `session`, without its state; None where nothing usable is."""
        try:
            path = self._path(session)
            with path.open("rb") as file:
                found = self._found(path, file)
        except FileNotFoundError:
            return None
        except _NO_USE:
            found = None
        self.refused += found is None
        return found

    def restore(self, found: Found, sequence: int) -> bool:
        """Put a saved prefix into an empty sequence. False, and an empty sequence, if the file is
        not what it was."""
        lib, state = self._lib, _state_of(found)
        if state and lib.llama_state_seq_set_data(self._context, state, found.size, sequence):
            self.restored += 1
            with contextlib.suppress(OSError):
                os.utime(found.path)
            return True
        lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), sequence, -1, -1)
        self.refused += 1
        return False

    def _found(self, path: Path, file: BinaryIO) -> Found | None:
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
        return Found(path, tuple(tokens), digest, size)

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
        """Give up those that were used longest ago, until the rest fits."""
        kept = 0
        stats = [(path.stat(), path) for path in self._folder.glob("*.kv")]
        for stat, path in sorted(stats, key=lambda pair: -pair[0].st_mtime_ns):
            kept += stat.st_size
            if kept > self._most_bytes:
                path.unlink(missing_ok=True)

    def _clean(self) -> None:
        """Remove what processes that are no more left half written. What cannot be removed stays:
        it is in nobody's way."""
        for path in self._folder.glob(f"{self._model}-*.kv.*"):
            if alive(path.suffix[1:]):
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning(
                    "%r is a saved prefix that a process left half written, and cannot be removed "
                    "(%s). Remove it.",
                    str(path),
                    error.strerror or error,
                )


def remove_all(folder: Path) -> None:
    """Remove every saved prefix, of whatever model. Raises OSError."""
    for path in folder.glob("*.kv*"):
        path.unlink(missing_ok=True)


def fingerprint(model: Path, parameters: str) -> bytes:
    """Of a model's file and of all that a cached entry depends on beside it. Not every byte is
    read: the size, the beginning, and samples from all over the file."""
    digest = hashlib.blake2b(parameters.encode(), digest_size=_DIGEST)
    with model.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(struct.pack("<Q", size))
        for number in range(_SAMPLES):
            file.seek(size * number // _SAMPLES)
            digest.update(file.read(_SAMPLE))
    return digest.digest()


def alive(process: str) -> bool:
    """Whether a process with this id may be running; what is no id is none. On Windows every id
    may: to ask there with signal 0 would be a Ctrl-C to that process."""
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


def _state_of(found: Found) -> Any:
    """What was saved, as llama.cpp takes it; None if the file is not what it was, or cannot be
    read."""
    body = array.array("i", found.tokens).tobytes()
    try:
        data = found.path.read_bytes()[_HEAD.size + len(body) :]
        if len(data) != found.size:
            return None
        state = (ctypes.c_uint8 * found.size).from_buffer_copy(data)
        return state if _digest(body, state) == found.digest else None
    except _NO_USE:
        return None


def _digest(body: bytes, state: Any) -> bytes:
    digest = hashlib.blake2b(body, digest_size=_DIGEST)
    digest.update(memoryview(state))
    return digest.digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _encoded(path: Path) -> bytes:
    """A path as bytes, also where its name is no Unicode."""
    return str(path).encode("utf-8", "surrogatepass")
