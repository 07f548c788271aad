"""The frames between the index and the process that runs Chroma: a head of JSON, a body of bytes.

Invariant: whatever the pieces in which bytes come, `Cutter` gives each frame once and whole.
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

    Vectors = npt.NDArray[np.float32]
    Ids = npt.NDArray[np.int64]

_LENGTHS = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class Frame:
    """head: JSON-ready. body: arrays, see `rows`."""

    head: dict[str, Any]
    body: bytes = b""

    def packed(self) -> bytes:
        """The frame as it travels."""
        head = json.dumps(self.head).encode()
        return b"".join((_LENGTHS.pack(len(head), len(self.body)), head, self.body))


class Cutter:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
        self._held += data
        while len(self._held) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._held)
            start, end = _LENGTHS.size + head, _LENGTHS.size + head + body
            if len(self._held) < end:
                return
            frame = Frame(
                json.loads(self._held[_LENGTHS.size : start]), bytes(self._held[start:end])
            )
            del self._held[:end]
            yield frame


def pack_rows(ids: Sequence[int] | Ids, values: Vectors) -> bytes:
    """Ids, and a row of values for each."""
    import numpy as np

    return b"".join(
        (np.asarray(ids, "<i8").tobytes(), np.ascontiguousarray(values, "<f4").tobytes())
    )


def unpack_rows(body: bytes, width: int) -> tuple[Ids, Vectors]:
    """What `pack_rows` was given, with rows of `width` values."""
    import numpy as np

    count = len(body) // (8 + 4 * width)
    ids = np.frombuffer(body, "<i8", count)
    return ids, np.frombuffer(body, "<f4", offset=8 * count).reshape(count, width)
