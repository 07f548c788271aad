"""The whole vocabulary as the array that llama.cpp's samplers sort, cut and choose from.

Needed where a grammar has a say; without one the library fills and reads its own.
Invariant: the rows are refilled before every draw, since samplers reorder them.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


class Candidates:
    """Room for one vocabulary of `size` tokens; used by the worker only."""

    def __init__(self, lib: Any, size: int) -> None:
        self._lib = lib
        self._rows = np.zeros(size, dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
        self._ids = np.arange(size, dtype="i4")

    def draw(self, logits: Any, *samplers: Any) -> tuple[int, float]:
        """Apply `samplers` in turn; returns the chosen token and its logit then."""
        self._rows["id"] = self._ids
        self._rows["logit"] = logits
        array = self._array(self._rows)
        for sampler in samplers:
            self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        chosen = array.data[array.selected]
        return int(chosen.id), float(chosen.logit)

    def allowed(self, token: int, grammar: Any) -> bool:
        """Whether `grammar` lets `token` follow."""
        row = np.array([(token, 1.0, 0.0)], dtype=self._rows.dtype)
        array = self._array(row)
        self._lib.llama_sampler_apply(grammar, ctypes.byref(array))
        return bool(np.isfinite(array.data[0].logit))

    def _array(self, rows: Any) -> Any:
        data = rows.ctypes.data_as(self._lib.llama_token_data_p)
        return self._lib.llama_token_data_array(data, len(rows), -1, False)
