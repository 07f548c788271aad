"""The one reader of GGUF files: strict, and run before llama.cpp sees a file.

A model file is not trusted: llama.cpp aborts the process on some broken ones. Invariant: `read`
either returns a header in which every count, string, array and tensor lies inside the file, or
raises `GgufFault` naming what is wrong; it never reads past the end and never allocates by a count
that the file itself claims. Large arrays are walked, checked and not kept; what a `Tokenizer` holds
is all that stays of a vocabulary.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vanta.models.quantisation import BLOCKS
from vanta.models.tokenizer import MOST_CHARSMAP, SPELLINGS, Tokenizer

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KEPT_ITEMS = 4096
"""Arrays with an item a layer are kept, vocabularies are not."""
MAX_NAME = 64
MAX_DIMENSIONS = 4
_MAX_KEY = 65_535
_UINT8, _INT8, _INT32, _STRING, _ARRAY = 0, 1, 5, 8, 9
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_ARRAY_HEAD = 4 + 4 + 8
_TOKENS = "tokenizer.ggml.tokens"
_TYPES = "tokenizer.ggml.token_type"
_CHARSMAP = "tokenizer.ggml.precompiled_charsmap"
_SMALLEST_PAIR = 8 + 1 + 4 + 1
_SMALLEST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8


class GgufFault(Exception):  # noqa: N818 - the word that the messages use
    """What is wrong with a file, in words that name the place."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the metadata, its `type` GGUF's; `items` is () where there were too many."""

    type: int
    count: int
    items: tuple[Value, ...] = ()


Value = int | float | bool | str | Array


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's place: `offset` in bytes from the start of the data, `size` in bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Gguf:
    """All that stands before the weights of a file."""

    version: int
    metadata: Mapping[str, Value]
    tensors: Mapping[str, Tensor]
    file_size: int
    tokenizer: Tokenizer


def read(path: Path) -> Gguf:
    """The header of the file at `path`. Raises GgufFault; blocking."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise GgufFault("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(_Cursor(data, size))
    except OSError as error:
        raise GgufFault(f"the file cannot be read: {error.strerror or error}") from error


class _Cursor:
    """Reads forward through the file; whatever would pass its end is a fault that says where."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self.data = data
        self.size = size
        self.at = 0

    def skip(self, count: int, what: str) -> int:
        start = self.at
        if count > self.size - start:
            raise GgufFault(
                f"{what} needs {count} bytes at offset {start}, "
                f"but the file ends at {self.size} (cut short, or its header lies)"
            )
        self.at = start + count
        return start

    def scalar(self, code: str, what: str) -> int | float | bool:
        """One little-endian number; a float that is not finite passes, llama.cpp bears it."""
        layout = "<" + code
        start = self.skip(struct.calcsize(layout), what)
        value: int | float | bool = struct.unpack_from(layout, self.data, start)[0]
        return value

    def count(self, code: str, what: str) -> int:
        return int(self.scalar(code, what))

    def text(self, what: str, *, longest: int | None = None) -> str:
        length = self.count("Q", f"the length of {what}")
        if longest is not None and not 0 < length <= longest:
            raise GgufFault(f"{what} has a length of {length}; 1 to {longest} bytes are allowed")
        start = self.skip(length, what)
        return self.data[start : start + length].decode("utf-8", "replace")


def _header(cursor: _Cursor) -> Gguf:
    magic = cursor.data[:4]
    if magic != MAGIC:
        raise GgufFault(f"the file begins with {magic!r}, not with {MAGIC!r}: it is not GGUF")
    cursor.skip(4, "the magic")
    version = cursor.count("I", "the version")
    if version not in VERSIONS:
        raise GgufFault(f"GGUF version {version} is not one of {VERSIONS}")
    tensor_count = cursor.count("Q", "the tensor count")
    pair_count = cursor.count("Q", "the metadata count")
    _must_fit(cursor, pair_count, _SMALLEST_PAIR, "metadata pairs")
    metadata, tokenizer = _metadata(cursor, pair_count)
    _must_fit(cursor, tensor_count, _SMALLEST_TENSOR, "tensors")
    alignment = _alignment(metadata)
    tensors = _tensors(cursor, tensor_count, alignment)
    _check_places(tensors, -(-cursor.at // alignment) * alignment, cursor.size)
    return Gguf(version, metadata, tensors, cursor.size, tokenizer)


def _must_fit(cursor: _Cursor, count: int, smallest: int, what: str) -> None:
    if count * smallest > cursor.size - cursor.at:
        raise GgufFault(
            f"the header claims {count} {what}, more than a file of {cursor.size} bytes can hold"
        )


def _metadata(cursor: _Cursor, count: int) -> tuple[dict[str, Value], Tokenizer]:
    metadata: dict[str, Value] = {}
    tokenizer = Tokenizer()
    for number in range(count):
        key = cursor.text(f"the key of metadata pair {number}", longest=_MAX_KEY)
        if key in metadata:
            raise GgufFault(f"the metadata key {key!r} stands there twice")
        start = cursor.at
        value = metadata[key] = _value(cursor, f"the value of {key!r}")
        if isinstance(value, Array):
            tokenizer = _kept(cursor, key, value, start + _ARRAY_HEAD, tokenizer)
    return metadata, tokenizer


def _kept(cursor: _Cursor, key: str, array: Array, start: int, tokenizer: Tokenizer) -> Tokenizer:
    """`tokenizer` and what is kept of one more array, whose items begin at `start`."""
    if (key, array.type) == (_TOKENS, _STRING):
        seen = _distinct(cursor.data, start, array.count)
        return replace(tokenizer, byte_tokens=SPELLINGS & seen)
    if (key, array.type) == (_TYPES, _INT32):
        items = struct.iter_unpack("<i", cursor.data[start : cursor.at])
        return replace(tokenizer, types=frozenset(item for (item,) in items))
    if key == _CHARSMAP and array.type in {_UINT8, _INT8}:
        if array.count > MOST_CHARSMAP:
            raise GgufFault(f"{key!r} has {array.count} bytes; up to {MOST_CHARSMAP} make sense")
        return replace(tokenizer, charsmap=cursor.data[start : cursor.at])
    return tokenizer


def _distinct(data: mmap.mmap, at: int, count: int) -> set[bytes]:
    """The tokens. None may stand twice: llama.cpp ends the process then (the empty ones it tells
    apart itself)."""
    length_at = struct.Struct("<Q").unpack_from
    seen: set[bytes] = set()
    for number in range(count):
        length = length_at(data, at)[0]
        token = data[at + 8 : at + 8 + length]
        if token in seen:
            raise GgufFault(f"token {number} of {_TOKENS!r} stands there twice: {token[:40]!r}")
        if token:
            seen.add(token)
        at += 8 + length
    return seen


def _value(cursor: _Cursor, what: str) -> Value:
    kind = cursor.count("I", f"the type of {what}")
    if kind == _STRING:
        return cursor.text(what)
    if kind == _ARRAY:
        return _array(cursor, what)
    if kind not in _SCALARS:
        raise GgufFault(f"{what} has the type {kind}, which GGUF does not know")
    return cursor.scalar(_SCALARS[kind], what)


def _array(cursor: _Cursor, what: str) -> Array:
    kind = cursor.count("I", f"the item type of {what}")
    count = cursor.count("Q", f"the length of {what}")
    if kind != _STRING and kind not in _SCALARS:
        raise GgufFault(f"{what} is an array of the type {kind}, which GGUF does not allow")
    _must_fit(cursor, count, 8 if kind == _STRING else 1, f"items in {what}")
    if count <= KEPT_ITEMS:
        items = tuple(
            cursor.text(what) if kind == _STRING else cursor.scalar(_SCALARS[kind], what)
            for _ in range(count)
        )
        return Array(kind, count, items)
    if kind == _STRING:
        _skip_strings(cursor, count, what)
    else:
        cursor.skip(count * struct.calcsize("<" + _SCALARS[kind]), what)
    return Array(kind, count)


def _skip_strings(cursor: _Cursor, count: int, what: str) -> None:
    """Walk a long array of strings; a vocabulary has very many, so this loop is bare."""
    length_at = struct.Struct("<Q").unpack_from
    data, end, at = cursor.data, cursor.size - 8, cursor.at
    for number in range(count):
        if at > end:
            raise GgufFault(f"item {number} of {what} lies beyond the end of the file")
        at += 8 + length_at(data, at)[0]
    cursor.skip(at - cursor.at, what)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment.bit_count() != 1:
        raise GgufFault(f"general.alignment is {alignment!r}, not a power of two")
    return alignment


def _tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number in range(count):
        tensor = _tensor(cursor, number)
        if tensor.name in tensors:
            raise GgufFault(f"the tensor {tensor.name!r} stands there twice")
        if tensor.offset % alignment:
            raise GgufFault(
                f"the tensor {tensor.name!r} begins at {tensor.offset}, "
                f"off the alignment of {alignment}"
            )
        tensors[tensor.name] = tensor
    return tensors


def _tensor(cursor: _Cursor, number: int) -> Tensor:
    name = cursor.text(f"the name of tensor {number}", longest=MAX_NAME - 1)
    rank = cursor.count("I", f"the rank of tensor {name!r}")
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise GgufFault(f"the tensor {name!r} has {rank} dimensions; 1 to {MAX_DIMENSIONS} exist")
    shape = tuple(cursor.count("Q", f"the shape of {name!r}") for _ in range(rank))
    kind = cursor.count("I", f"the type of tensor {name!r}")
    offset = cursor.count("Q", f"the offset of tensor {name!r}")
    if kind not in BLOCKS:
        raise GgufFault(f"the tensor {name!r} has the type {kind}, which is not known")
    values, size = BLOCKS[kind]
    if min(shape) < 1 or shape[0] % values:
        raise GgufFault(f"the tensor {name!r} has the shape {shape}, impossible for type {kind}")
    return Tensor(name, shape, kind, offset, math.prod(shape) // values * size)


def _check_places(tensors: Mapping[str, Tensor], start: int, file_size: int) -> None:
    """Every tensor inside the file, none upon another."""
    end, before = 0, ""
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise GgufFault(f"the tensors {before!r} and {tensor.name!r} overlap")
        end, before = tensor.offset + tensor.size, tensor.name
        if start + end > file_size:
            raise GgufFault(
                f"the tensor {tensor.name!r} ends at {start + end}, but the file at {file_size}: "
                "cut short, or its header lies"
            )
