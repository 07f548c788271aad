"""KV cache on disk: the computed prefixes of sessions, restored after a restart.

A file holds one session's exact prefix: its tokens and llama.cpp's state of the sequence. It is
written under another name and renamed, so that a process can die at any moment. The files contain
conversations, as transcripts do, and only their owner can read them.
Invariant: only bytes that the same model saved under the same parameters are restored; any other
file is counted as refused and ignored. Only files with a name and a beginning of this module are
removed, and a folder with files of other programs is not used. If disk or memory are full, nothing
is saved or found: no error leaves this module.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import hashlib
import logging
import os
import re
import stat
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vanta.files import open_file, private_folder, read_file, write_private

_log = logging.getLogger("vanta.llamacpp")
MAGIC = b"VKV1"
MARK = "CACHEDIR.TAG"
_MARK_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The KV caches of vanta. Its files may be removed at any time.\n"
)
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}\.kv(\.\d+)?")
_DIGEST = 32
_HEAD = struct.Struct(f"<4s{_DIGEST}s{_DIGEST}sIQ")
_SAMPLES, _SAMPLE = 64, 1 << 16
_MOST_BYTES = 1 << 42
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
        self._usable = _claim(folder)
        self._clean()

    def save(self, session: str, sequence: int, tokens: Sequence[int]) -> bool:
        """Save the state of a sequence, whose tokens are `tokens`. Returns whether it was saved."""
        if not self._usable:
            return False
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
            with open_file(path, _MOST_BYTES) as file:
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
        stats = [(path.stat(), path) for path in _own_files(self._folder) if path.suffix == ".kv"]
        for status, path in sorted(stats, key=lambda pair: -pair[0].st_mtime_ns):
            total += status.st_size
            if total > self._most_bytes:
                path.unlink(missing_ok=True)

    def _clean(self) -> None:
        """Remove the partial files of processes that have ended, as far as possible."""
        for path in _own_files(self._folder, self._model):
            if path.suffix == ".kv" or alive(path.suffix[1:]):
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
    """Remove the saved prefixes of all models, and no file of another program. Raises OSError."""
    for path in _own_files(folder):
        path.unlink(missing_ok=True)


def _claim(folder: Path) -> bool:
    """Mark a folder as a cache of vanta; return False if it has files of another program.

    The mark follows https://bford.info/cachedir/, so that backups leave the folder out.
    """
    try:
        private_folder(folder)
        mark = folder / MARK
        if not mark.exists():
            foreign = [path.name for path in folder.iterdir() if not _NAME.fullmatch(path.name)]
            if foreign:
                _log.warning(
                    "nothing is saved in 'cache_dir' %r: it has files that vanta did not write "
                    "(%r). Name an empty folder.",
                    str(folder),
                    min(foreign),
                )
                return False
            write_private(mark, _MARK_TEXT)
        return read_file(mark, 1 << 16) == _MARK_TEXT
    except OSError:
        return False


def _own_files(folder: Path, model: str = "") -> list[Path]:
    """Return the files that this module wrote: by their names, their kind and their beginning."""
    try:
        paths = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return [path for path in paths if path.name.startswith(model) and _begins_as_own(path)]


def _begins_as_own(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with open_file(path, _MOST_BYTES) as file:
            beginning = file.read(len(MAGIC))
    except OSError:
        return False
    # A process that dies at once leaves an empty file.
    return beginning == MAGIC or (not beginning and path.suffix != ".kv")


def fingerprint(model: Path, parameters: str) -> bytes:
    """Return the fingerprint of a model's file and of parameters.

    Covers the size, the beginning, and samples from all over the file.
    """
    digest = hashlib.blake2b(parameters.encode(), digest_size=_DIGEST)
    with open_file(model, _MOST_BYTES) as file:
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
        data = read_file(prefix.path, _HEAD.size + len(body) + prefix.size)[
            _HEAD.size + len(body) :
        ]
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
