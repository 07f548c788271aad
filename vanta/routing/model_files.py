"""Model files: small versioned JSON, written atomically and refused if broken.

Invariant: `read` returns data of the requested kind and version, or raises UsageError with the
file's name and the next step.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vanta.errors import UsageError
from vanta.files import parse_json, private_folder, read_file, write_private

_LARGEST = 1 << 25
_STEPS = 32767


def write(path: Path, kind: str, version: int, data: Mapping[str, Any]) -> None:
    """Write a model file atomically; raise UsageError if it cannot be written."""
    text = json.dumps({"vanta": kind, "version": version, **data}, indent=1, allow_nan=False)
    try:
        private_folder(path.parent)
        write_private(path, text + "\n")
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be written: {error.strerror}. Name another file with --out."
        ) from error


def read(path: Path, kind: str, version: int) -> dict[str, Any]:
    """Return the data of a model file; raise UsageError if it does not fit."""
    again = f"Fit it again with `vanta {'route' if kind == 'router' else kind} fit`."
    try:
        raw = read_file(path, _LARGEST)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}. {again}") from error
    try:
        data = parse_json(raw)
    except ValueError as error:
        raise UsageError(
            f"{str(path)!r} is not a model file of the {kind}: {error}. {again}"
        ) from error
    if not isinstance(data, dict) or data.get("vanta") != kind:
        raise UsageError(f"{str(path)!r} is not a model file of the {kind}. {again}")
    if data.get("version") != version:
        raise UsageError(
            f"{str(path)!r} is a model file of the {kind} in version {data.get('version')!r}; "
            f"this vanta reads version {version}. {again}"
        )
    return data


def broken(path: Path, kind: str, why: object) -> UsageError:
    """Return the error for a model file whose contents do not fit."""
    name = "route" if kind == "router" else kind
    return UsageError(
        f"{str(path)!r} is a broken model file of the {kind}: {why}. Fit it again with "
        f"`vanta {name} fit`."
    )


def number(value: object, low: float = -1e12, high: float = 1e12) -> float:
    """Return a finite number within bounds; raise ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - one error for broken files
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{value!r} is not between {low:g} and {high:g}")
    return float(value)


def numbers(value: object, low: float = -1e12, high: float = 1e12) -> tuple[float, ...]:
    """Return a list of such numbers; raise ValueError otherwise."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")  # noqa: TRY004 - one error for broken files
    return tuple(number(item, low, high) for item in value)


def pack_keys(keys: Iterable[int]) -> str:
    """Return unsigned 32-bit numbers as text."""
    return _packed(array("I", keys))


def unpack_keys(text: object) -> list[int]:
    """Return the packed numbers; raise ValueError if they are damaged."""
    return list(_unpacked("I", text))


def pack_weights(weights: Sequence[float]) -> dict[str, Any]:
    """Return weights as JSON-ready data, in 16 bits each."""
    largest = max(map(abs, weights), default=0.0) or 1.0
    steps = array("h", [round(value / largest * _STEPS) for value in weights])
    return {"scale": largest / _STEPS, "weights": _packed(steps)}


def unpack_weights(data: Mapping[str, Any]) -> list[float]:
    """Return the packed weights; raise ValueError if they are damaged."""
    scale = number(data.get("scale"), 0)
    return [step * scale for step in _unpacked("h", data.get("weights"))]


def _packed(values: array[int]) -> str:
    return base64.b85encode(zlib.compress(_little(values).tobytes(), 9)).decode()


def _unpacked(code: str, value: object) -> array[int]:
    if not isinstance(value, str):
        raise ValueError("there are no weights")  # noqa: TRY004 - one error for broken files
    try:
        unzip = zlib.decompressobj()
        raw = unzip.decompress(base64.b85decode(value), _LARGEST)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"the weights cannot be unpacked ({error})") from error
    if not unzip.eof:
        raise ValueError("the weights are cut off or too many")
    values: array[int] = array(code)
    if len(raw) % values.itemsize:
        raise ValueError("the weights are cut off")
    values.frombytes(raw)
    return _little(values)


def _little(values: array[int]) -> array[int]:
    """Convert to and from little-endian byte order."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values
