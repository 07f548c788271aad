"""The frames between the index and its child process: a head in JSON, a body of bytes.

Invariant: however a stream of bytes is split, `FrameDecoder` yields each frame once and whole.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vanta.memory import Vectors

    Ids = npt.NDArray[np.int64]

_LENGTHS = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or reply. head: JSON-ready. body: arrays, as `pack_rows` writes them."""

    head: dict[str, Any]
    body: bytes = b""

    def packed(self) -> bytes:
        """Return the bytes to send."""
        head = json.dumps(self.head).encode()
        return b"".join((_LENGTHS.pack(len(head), len(self.body)), head, self.body))


class FrameDecoder:
    """Splits a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            head_size, body_size = _LENGTHS.unpack_from(self._buffer)
            start = _LENGTHS.size + head_size
            end = start + body_size
            if len(self._buffer) < end:
                return
            head = json.loads(self._buffer[_LENGTHS.size : start])
            frame = Frame(head, bytes(self._buffer[start:end]))
            del self._buffer[:end]
            yield frame


def pack_rows(ids: Sequence[int] | Ids, values: Vectors) -> bytes:
    """Return ids, followed by a row of values for each."""
    import numpy as np

    return b"".join(
        (np.asarray(ids, "<i8").tobytes(), np.ascontiguousarray(values, "<f4").tobytes())
    )


def unpack_rows(body: bytes, width: int) -> tuple[Ids, Vectors]:
    """Return the ids and the rows, of `width` values each, that `pack_rows` packed."""
    import numpy as np

    count = len(body) // (8 + 4 * width)
    ids = np.frombuffer(body, "<i8", count)
    return ids, np.frombuffer(body, "<f4", offset=8 * count).reshape(count, width)
