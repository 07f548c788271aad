"""Tokens in the form in which llama.cpp's samplers weigh, cut and choose them.

The library puts a whole vocabulary into that form for every token that it samples, and sorts it:
0.4 ms for 49,000 tokens, as much as a twentieth of a small model's step. Mostly only the likeliest
can be chosen, and these are found without sorting (`likeliest`).

Invariant: the rows are refilled before every draw, since samplers reorder them.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_BLOCK = 64


def likeliest(logits: Any, count: int) -> Any:
    """The ids of the `count` tokens with the highest logits, in ascending order, and of a few more.

    By the highest of each block: as many tokens as blocks are not below a block's highest, so the
    one of rank `count` among the highest is a floor that `count` tokens reach.
    """
    whole = len(logits) // _BLOCK
    if not 0 < count < whole:
        return np.arange(len(logits))
    highest = logits[: whole * _BLOCK].reshape(whole, _BLOCK).max(axis=1)
    floor = np.partition(highest, whole - count)[whole - count]
    return np.flatnonzero(~(logits < floor))  # where nothing can be compared, all of them


class Candidates:
    """Room for one vocabulary of `size` tokens; used by the worker only."""

    def __init__(self, lib: Any, size: int) -> None:
        self._lib = lib
        self._kind = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
        self._all = np.arange(size, dtype="i4")
        self._rows: Any = None

    def draw(self, logits: Any, *samplers: Any) -> tuple[int, float]:
        """Apply `samplers` in turn to all tokens; returns the chosen one and its logit then."""
        if self._rows is None:
            self._rows = np.zeros(len(self._all), dtype=self._kind)
        return self._draw(self._rows, self._all, logits, samplers)

    def draw_among(self, ids: Any, logits: Any, *samplers: Any) -> tuple[int, float]:
        """The same for the tokens `ids`; `logits` are of all."""
        return self._draw(np.zeros(len(ids), dtype=self._kind), ids, logits[ids], samplers)

    def _draw(self, rows: Any, ids: Any, logits: Any, samplers: Any) -> tuple[int, float]:
        rows["id"] = ids
        rows["logit"] = logits
        array = self._array(rows)
        for sampler in samplers:
            self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        chosen = array.data[array.selected]
        return int(chosen.id), float(chosen.logit)

    def allowed(self, token: int, grammar: Any) -> bool:
        """Whether `grammar` lets `token` follow."""
        row = np.array([(token, 1.0, 0.0)], dtype=self._kind)
        array = self._array(row)
        self._lib.llama_sampler_apply(grammar, ctypes.byref(array))
        return bool(np.isfinite(array.data[0].logit))

    def _array(self, rows: Any) -> Any:
        data = rows.ctypes.data_as(self._lib.llama_token_data_p)
        return self._lib.llama_token_data_array(data, len(rows), -1, False)
