"""A server's answer to a request for embeddings, as a matrix.

https://platform.openai.com/docs/api-reference/embeddings. Invariant: what comes out has a row of
length 1 (or of zeros) for each text, in the order of the texts, and every number is finite.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def vectors_of(answer: bytes, count: int) -> Vectors:
    """The vectors of `count` texts. Blocking. Raises ValueError that says what is wrong."""
    items = _items(json.loads(answer))
    if len(items) != count:
        raise ValueError(f"{len(items)} vectors came for {count} texts")
    rows: list[Any] = [None] * count
    for place, item in enumerate(items):
        rows[_index(item, place, count)] = item["embedding"]
    if any(row is None for row in rows):
        raise ValueError("two vectors have one index")
    try:
        found = np.array(rows, np.float64)
    except (TypeError, ValueError):
        raise ValueError("the vectors are no numbers, or not of one length") from None
    if found.ndim != 2 or not found.shape[1] or not np.isfinite(found).all():
        raise ValueError("the vectors are no rows of finite numbers")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return (found / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _items(answer: Any) -> list[dict[str, Any]]:
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and "embedding" in item for item in items
    ):
        raise ValueError("there is no list of vectors in it")
    return items


def _index(item: dict[str, Any], place: int, count: int) -> int:
    """Which text an item is for; servers that do not say keep the order."""
    index = item.get("index", place)
    if not isinstance(index, int) or not 0 <= index < count:
        raise ValueError(f"a vector has the index {index!r}, of {count} texts")
    return index
