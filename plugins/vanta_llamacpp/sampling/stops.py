"""From the bytes of tokens to text for the reader: whole characters, and stop strings cut out.

Invariant: no delta ever ends inside a character, and no part of a stop string is ever let out:
text that might be the beginning of one is held back until it is known.
"""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass

from vanta.messages import TokenLogprob


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is ready, with the logprobs of the tokens that it is made of."""

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.logprobs)


class TextAssembler:
    """Takes tokens, gives text. `stopped` is the stop string that was met, or None."""

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._released = 0
        self._pending: deque[tuple[int, TokenLogprob]] = deque()
        self.stopped: str | None = None

    def add(self, data: bytes, logprob: TokenLogprob | None = None) -> Piece:
        """Take a token's bytes; returns what can be shown now."""
        if logprob is not None:
            self._pending.append((self._released + len(self._held), logprob))
        self._held += self._decoder.decode(data)
        cut = self._first_stop()
        if cut is not None:
            piece = self._release(cut)
            self._held = ""
            self._pending.clear()
            return piece
        return self._release(len(self._held) - self._doubtful())

    def finish(self) -> Piece:
        """The generation is over: what was held back after all. A character that never became
        whole is left out."""
        if self.stopped is not None:
            return Piece()
        text, self._held = self._held, ""
        rest = tuple(logprob for _, logprob in self._pending)
        self._pending.clear()
        return Piece(text, rest)

    def _first_stop(self) -> int | None:
        """Where the earliest stop string begins, if one is complete."""
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if not found:
            return None
        at, self.stopped = min(found)
        return at

    def _doubtful(self) -> int:
        """How many characters at the end might begin a stop string."""
        held = self._held
        longest = min(len(held), max(map(len, self._stops), default=1) - 1)
        for length in range(longest, 0, -1):
            tail = held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0

    def _release(self, length: int) -> Piece:
        text, self._held = self._held[:length], self._held[length:]
        self._released += length
        logprobs = []
        while self._pending and (
            self._pending[0][0] < self._released or not (self._held or self._unfinished())
        ):
            logprobs.append(self._pending.popleft()[1])
        return Piece(text, tuple(logprobs))

    def _unfinished(self) -> bool:
        return bool(self._decoder.getstate()[0])
