"""The tensors of a safetensors file, mapped into memory: nothing is read before it is used.

Format: https://github.com/huggingface/safetensors#format (eight bytes with the header's length,
the header as JSON, then the data). Invariant: what comes out lies wholly inside the file and has
the shape that was asked for; the arrays cannot be written to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vanta.errors import EmbedderError
from vanta_embedders.architecture import Shape

Tensors = Mapping[str, npt.NDArray[np.float32]]

_LENGTH = 8
_LONGEST_HEADER = 1 << 24


class Misfit(Exception):  # noqa: N818 - becomes an EmbedderError that names the file
    """What is wrong with a file."""


def mapped(path: Path, shapes: Mapping[str, Shape]) -> Tensors:
    """The float32 tensors of these names and shapes. Raises EmbedderError, OSError."""
    try:
        content = np.memmap(path, dtype=np.uint8, mode="r")
        header, start = _header(content)
        return {name: _tensor(content[start:], header, name, shapes[name]) for name in shapes}
    except (Misfit, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EmbedderError(
            f"{str(path)!r} has not the weights of all-MiniLM-L6-v2: {error}. Check the file with "
            "`vanta models verify`, or fetch it with `vanta models pull all-minilm-l6-v2`."
        ) from error


def _header(content: npt.NDArray[np.uint8]) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(content[:_LENGTH].tobytes(), "little")
    if not 0 < length <= min(_LONGEST_HEADER, content.size - _LENGTH):
        raise Misfit("it is no safetensors file, or it is cut off")
    start = _LENGTH + length
    header: dict[str, Any] = json.loads(content[_LENGTH:start].tobytes())
    return header, start


def _tensor(
    data: npt.NDArray[np.uint8], header: Mapping[str, Any], name: str, shape: Shape
) -> npt.NDArray[np.float32]:
    facts = header.get(name)
    if facts is None:
        raise Misfit(f"there is no tensor {name!r}")
    if facts["dtype"] != "F32" or tuple(facts["shape"]) != shape:
        raise Misfit(f"{name!r} is {facts['dtype']} {facts['shape']}, not F32 {list(shape)}")
    begin, end = facts["data_offsets"]
    if not 0 <= begin <= end <= data.size or end - begin != 4 * math.prod(shape):
        raise Misfit(f"{name!r} is cut off")
    return data[begin:end].view("<f4").reshape(shape)
