"""The header of a GGUF file: enough to know a model without loading it.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little-endian, versions 2 and 3).
Invariant: nothing that the file claims is believed beyond the file's own size, so a header that
lies costs neither memory nor time; it raises ModelStoreError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vanta.errors import ModelStoreError

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_TOKENS = "tokenizer.ggml.tokens"
_KEPT_ITEMS = 4096  # arrays with an item a layer are kept, vocabularies are only counted
_MAX_KEYS = 100_000
_MAX_STRING = 1 << 24


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of its model; None where it does not say.

    window: tokens that the model was trained for. kv_bytes_per_token: the KV cache's growth with
    every token, at 16 bits. vocabulary: tokens.
    """

    architecture: str
    name: str | None
    window: int | None
    layers: int | None
    kv_bytes_per_token: int | None
    vocabulary: int | None


def check_magic(path: Path) -> None:
    """Raise ModelStoreError unless `path` begins as a GGUF file does. Reads four bytes."""
    with _errors(path), path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise ModelStoreError(f"the model file {str(path)!r} is empty. Fetch or copy it again.")
    if magic != b"GGUF":
        raise ModelStoreError(
            f"{str(path)!r} is not a GGUF file (it begins with {magic!r}). llama.cpp reads GGUF "
            "only: take a file whose name ends in .gguf, or convert the model with "
            "llama.cpp's own tools."
        )


def read_header(path: Path) -> Header:
    """What the file says of its model. Raises ModelStoreError for a file that is no sound GGUF."""
    check_magic(path)
    with _errors(path), path.open("rb") as file:
        return _header(_Reader(file, path.stat().st_size).keys())


class _errors:  # noqa: N801 - reads as the `with` that it is
    """Turns what goes wrong while reading `path` into a ModelStoreError."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise ModelStoreError(
                f"the model file {self.path!r} cannot be read: {error.strerror}. Check the path "
                "and its permissions."
            ) from error
        if isinstance(error, (struct.error, ValueError, EOFError)):
            raise ModelStoreError(
                f"the header of {self.path!r} is broken: {error}. The file is damaged or cut off; "
                "fetch or copy it again."
            ) from error


class _Reader:
    """Reads the metadata of an open GGUF file, never past its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._file.seek(4)

    def keys(self) -> dict[str, Any]:
        """Every key up to the vocabulary (only counted), or all where the model comes later."""
        version, _tensors, count = self._unpack("IQQ")
        if version not in {2, 3}:
            raise ValueError(f"GGUF version {version} is unknown")
        if count > _MAX_KEYS:
            raise ValueError(f"it claims {count} keys")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._string()
            found[key] = self._value(self._unpack("I")[0], count_only=key == _TOKENS)
            if key == _TOKENS and any(name.endswith(".block_count") for name in found):
                break
        return found

    def _value(self, kind: int, *, count_only: bool = False) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(count_only=count_only)
        if kind not in _SCALARS:
            raise ValueError(f"value type {kind} is unknown")
        return self._unpack(_SCALARS[kind])[0]

    def _array(self, *, count_only: bool) -> Any:
        kind, count = self._unpack("IQ")
        if kind == _ARRAY:
            raise ValueError("an array of arrays")
        if count > self._left():
            raise ValueError(f"an array claims {count} items")
        keep = count <= _KEPT_ITEMS and not count_only
        items = [item for item in (self._value(kind) for _ in range(count)) if keep]
        return items if keep else count

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        if length > _MAX_STRING:
            raise ValueError(f"a text claims {length} bytes")
        return self._read(length).decode(errors="replace")

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self._read(struct.calcsize(f"<{layout}")))

    def _read(self, length: int) -> bytes:
        if length > self._left():
            raise EOFError("it ends in the middle")
        return self._file.read(length)

    def _left(self) -> int:
        return self._size - self._file.tell()


def _header(keys: dict[str, Any]) -> Header:
    architecture = str(keys.get("general.architecture", ""))

    def number(key: str) -> int | None:
        value = keys.get(f"{architecture}.{key}")
        return value if isinstance(value, int) else None

    tokens = keys.get(_TOKENS)
    return Header(
        architecture=architecture,
        name=keys.get("general.name"),
        window=number("context_length"),
        layers=number("block_count"),
        kv_bytes_per_token=_kv_bytes(keys, architecture),
        vocabulary=tokens if isinstance(tokens, int) else number("vocab_size"),
    )


def _kv_bytes(keys: dict[str, Any], architecture: str) -> int | None:
    """Two bytes for every key and value of every KV head of every layer; None where not said."""

    def number(key: str, default: int = 0) -> int:
        value = keys.get(f"{architecture}.{key}")
        return value if isinstance(value, int) else default

    layers, heads, width = (
        number("block_count"),
        number("attention.head_count"),
        number("embedding_length"),
    )
    if not layers or not heads or not width:
        return None
    per_head = width // heads
    both = number("attention.key_length", per_head) + number("attention.value_length", per_head)
    each_layer = keys.get(f"{architecture}.attention.head_count_kv")
    if isinstance(each_layer, list) and all(isinstance(item, int) for item in each_layer):
        return 2 * both * sum(each_layer)
    return 2 * both * layers * number("attention.head_count_kv", heads)
