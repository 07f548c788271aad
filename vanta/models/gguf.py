"""The one reader of GGUF files: strict, and run before llama.cpp sees a file.

A model file is not trusted: llama.cpp aborts the process on some broken ones. Invariant: `read`
either returns a header in which every count, string, array and tensor lies inside the file, or
raises `GgufError` naming the problem; it never reads past the end and never allocates by a count
that the file itself claims. Large arrays are walked, checked and not kept, except the table of a
tokenizer's normalisations.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vanta.files import open_file

MOST_BYTES = 1 << 42
"""The size up to which a file can be a model: 4 TB."""

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KEPT_ITEMS = 4096
"""Arrays with an item a layer are kept, vocabularies are not."""
MAX_NAME = 64
MAX_DIMENSIONS = 4
_MAX_KEY = 65_535
_UINT8, _INT8, _STRING, _ARRAY = 0, 1, 8, 9
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
MOST_CHARSMAP = 1 << 24
"""Bytes; those of SentencePiece's own rules have some 300,000."""
_ARRAY_HEAD = 4 + 4 + 8
_CHARSMAP = "tokenizer.ggml.precompiled_charsmap"
_SMALLEST_PAIR = 8 + 1 + 4 + 1
_SMALLEST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8

BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 36),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
    41: (128, 18),  # Q1_0
    42: (64, 18),  # Q2_0
}
"""Of each tensor type: values in a block, and bytes of a block. A test compares the library's."""

FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
}
"""Names of the file types."""


class GgufError(Exception):
    """The file is not sound GGUF; the message names the place."""


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array of the metadata.

    :param type: GGUF's number of the item type.
    :param count: number of items.
    :param items: the items, or () if there are more than `KEPT_ITEMS`.
    """

    type: int
    count: int
    items: tuple[Value, ...] = ()


Value = int | float | bool | str | GgufArray


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor's entry.

    :param name: its name.
    :param shape: numbers in each dimension, innermost first.
    :param type: GGUF's number of the tensor type.
    :param offset: bytes from the start of the weights.
    :param size: bytes.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Gguf:
    """The header of a file.

    :param version: of the format.
    :param metadata: values by key.
    :param tensors: entries by name.
    :param file_size: bytes of the whole file.
    :param header_bytes: bytes before the weights.
    :param charsmap: a tokenizer's table of normalisations, b"" if there is none.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]
    file_size: int
    header_bytes: int
    charsmap: bytes = b""


def read(path: Path) -> Gguf:
    """Return the header of a file. Blocking.

    :param path: the file.
    :raises GgufError: if it cannot be read or is not sound.
    """
    try:
        with open_file(path, MOST_BYTES) as file:
            size = path.stat().st_size
            if not size:
                raise GgufError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(_Cursor(data, size))
    except OSError as error:
        raise GgufError(f"the file cannot be read: {error.strerror or error}") from error


class _Cursor:
    """Reads forward through the file; passing its end is an error that names the place."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self.data = data
        self.size = size
        self.at = 0

    def skip(self, count: int, what: str) -> int:
        start = self.at
        if count > self.size - start:
            raise GgufError(
                f"{what} needs {count} bytes at offset {start}, "
                f"but the file ends at {self.size} (cut short, or its header lies)"
            )
        self.at = start + count
        return start

    def scalar(self, code: str, what: str) -> int | float | bool:
        """Read one little-endian number. Floats that are not finite pass."""
        layout = "<" + code
        start = self.skip(struct.calcsize(layout), what)
        value: int | float | bool = struct.unpack_from(layout, self.data, start)[0]
        return value

    def count(self, code: str, what: str) -> int:
        return int(self.scalar(code, what))

    def text(self, what: str, *, longest: int | None = None) -> str:
        length = self.count("Q", f"the length of {what}")
        if longest is not None and not 0 < length <= longest:
            raise GgufError(f"{what} has a length of {length}; 1 to {longest} bytes are allowed")
        start = self.skip(length, what)
        return self.data[start : start + length].decode("utf-8", "replace")


def _header(cursor: _Cursor) -> Gguf:
    magic = cursor.data[:4]
    if magic != MAGIC:
        raise GgufError(f"the file begins with {magic!r}, not with {MAGIC!r}: it is not GGUF")
    cursor.skip(4, "the magic")
    version = cursor.count("I", "the version")
    if version not in VERSIONS:
        raise GgufError(f"GGUF version {version} is not one of {VERSIONS}")
    tensor_count = cursor.count("Q", "the tensor count")
    pair_count = cursor.count("Q", "the metadata count")
    _must_fit(cursor, pair_count, _SMALLEST_PAIR, "metadata pairs")
    metadata, charsmap = _metadata(cursor, pair_count)
    _must_fit(cursor, tensor_count, _SMALLEST_TENSOR, "tensors")
    alignment = _alignment(metadata)
    tensors = _tensors(cursor, tensor_count, alignment)
    start = -(-cursor.at // alignment) * alignment
    _check_places(tensors, start, cursor.size)
    return Gguf(version, metadata, tensors, cursor.size, min(start, cursor.size), charsmap)


def _must_fit(cursor: _Cursor, count: int, smallest: int, what: str) -> None:
    if count * smallest > cursor.size - cursor.at:
        raise GgufError(
            f"the header claims {count} {what}, more than a file of {cursor.size} bytes can hold"
        )


def _metadata(cursor: _Cursor, count: int) -> tuple[dict[str, Value], bytes]:
    metadata: dict[str, Value] = {}
    charsmap = b""
    for number in range(count):
        key = cursor.text(f"the key of metadata pair {number}", longest=_MAX_KEY)
        if key in metadata:
            raise GgufError(f"the metadata key {key!r} is duplicated")
        start = cursor.at
        value = metadata[key] = _value(cursor, f"the value of {key!r}")
        if key == _CHARSMAP and isinstance(value, GgufArray) and value.type in {_UINT8, _INT8}:
            if value.count > MOST_CHARSMAP:
                raise GgufError(f"{key!r} has {value.count} bytes; at most {MOST_CHARSMAP} may be")
            charsmap = cursor.data[start + _ARRAY_HEAD : cursor.at]
    return metadata, charsmap


def _value(cursor: _Cursor, what: str) -> Value:
    kind = cursor.count("I", f"the type of {what}")
    if kind == _STRING:
        return cursor.text(what)
    if kind == _ARRAY:
        return _array(cursor, what)
    if kind not in _SCALARS:
        raise GgufError(f"{what} has the type {kind}, which is not a GGUF type")
    return cursor.scalar(_SCALARS[kind], what)


def _array(cursor: _Cursor, what: str) -> GgufArray:
    kind = cursor.count("I", f"the item type of {what}")
    count = cursor.count("Q", f"the length of {what}")
    if kind != _STRING and kind not in _SCALARS:
        raise GgufError(f"{what} is an array of the type {kind}, which GGUF does not allow")
    _must_fit(cursor, count, 8 if kind == _STRING else 1, f"items in {what}")
    if count <= KEPT_ITEMS:
        items = tuple(
            cursor.text(what) if kind == _STRING else cursor.scalar(_SCALARS[kind], what)
            for _ in range(count)
        )
        return GgufArray(kind, count, items)
    if kind == _STRING:
        _skip_strings(cursor, count, what)
    else:
        cursor.skip(count * struct.calcsize("<" + _SCALARS[kind]), what)
    return GgufArray(kind, count)


def _skip_strings(cursor: _Cursor, count: int, what: str) -> None:
    """Walk a long array of strings. A vocabulary has very many, so this loop is bare."""
    length_at = struct.Struct("<Q").unpack_from
    data, end, at = cursor.data, cursor.size - 8, cursor.at
    for number in range(count):
        if at > end:
            raise GgufError(f"item {number} of {what} lies beyond the end of the file")
        at += 8 + length_at(data, at)[0]
    cursor.skip(at - cursor.at, what)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment.bit_count() != 1:
        raise GgufError(f"general.alignment is {alignment!r}, not a power of two")
    return alignment


def _tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, GgufTensor]:
    tensors: dict[str, GgufTensor] = {}
    for number in range(count):
        tensor = _tensor(cursor, number)
        if tensor.name in tensors:
            raise GgufError(f"the tensor {tensor.name!r} is duplicated")
        if tensor.offset % alignment:
            raise GgufError(
                f"the tensor {tensor.name!r} begins at {tensor.offset}, "
                f"off the alignment of {alignment}"
            )
        tensors[tensor.name] = tensor
    return tensors


def _tensor(cursor: _Cursor, number: int) -> GgufTensor:
    name = cursor.text(f"the name of tensor {number}", longest=MAX_NAME - 1)
    rank = cursor.count("I", f"the rank of tensor {name!r}")
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise GgufError(f"the tensor {name!r} has {rank} dimensions; 1 to {MAX_DIMENSIONS} exist")
    shape = tuple(cursor.count("Q", f"the shape of {name!r}") for _ in range(rank))
    kind = cursor.count("I", f"the type of tensor {name!r}")
    offset = cursor.count("Q", f"the offset of tensor {name!r}")
    if kind not in BLOCKS:
        raise GgufError(f"the tensor {name!r} has the type {kind}, which is unknown")
    values, size = BLOCKS[kind]
    if min(shape) < 1 or shape[0] % values:
        raise GgufError(f"the tensor {name!r} has the shape {shape}, impossible for type {kind}")
    return GgufTensor(name, shape, kind, offset, math.prod(shape) // values * size)


def _check_places(tensors: Mapping[str, GgufTensor], start: int, file_size: int) -> None:
    """Check that every tensor is inside the file and none overlaps another."""
    end, before = 0, ""
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise GgufError(f"the tensors {before!r} and {tensor.name!r} overlap")
        end, before = tensor.offset + tensor.size, tensor.name
        if start + end > file_size:
            raise GgufError(
                f"the tensor {tensor.name!r} ends at {start + end}, but the file at {file_size}: "
                "cut short, or its header lies"
            )
