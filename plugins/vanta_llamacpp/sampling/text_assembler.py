"""Text from the bytes of tokens: whole characters, and stop strings cut out.

Invariant: no delta ends inside a character, and no part of a stop string is released. Text that may
be the beginning of one is held until that is decided.
"""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass

from vanta import TokenLogprob


@dataclass(frozen=True, slots=True)
class AssembledText:
    """Text that can be shown, with the logprobs of its tokens."""

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.logprobs)


class TextAssembler:
    """Assembles the text of one answer. `stopped` is the stop string that ended it, or None.

    :param stops: the stop strings, none of them empty.
    """

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._released = 0
        self._pending: deque[tuple[int, TokenLogprob]] = deque()
        self.stopped: str | None = None

    def add(self, data: bytes, logprob: TokenLogprob | None = None) -> AssembledText:
        """Add a token's bytes; return the text that can be shown now."""
        if logprob is not None:
            self._pending.append((self._released + len(self._held), logprob))
        self._held += self._decoder.decode(data)
        cut = self._find_stop()
        if cut is not None:
            text = self._release(cut)
            self._held = ""
            self._pending.clear()
            return text
        return self._release(len(self._held) - self._undecided())

    def finish(self) -> AssembledText:
        """End the answer; return the text that was held. An incomplete character is dropped."""
        if self.stopped is not None:
            return AssembledText()
        text, self._held = self._held, ""
        rest = tuple(logprob for _, logprob in self._pending)
        self._pending.clear()
        return AssembledText(text, rest)

    def _find_stop(self) -> int | None:
        """Return where the earliest complete stop string begins, or None."""
        matches = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if not matches:
            return None
        at, self.stopped = min(matches)
        return at

    def _undecided(self) -> int:
        """Return how many characters at the end may begin a stop string."""
        held = self._held
        longest = min(len(held), max(map(len, self._stops), default=1) - 1)
        for length in range(longest, 0, -1):
            tail = held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0

    def _release(self, length: int) -> AssembledText:
        text, self._held = self._held[:length], self._held[length:]
        self._released += length
        logprobs = []
        while self._pending and (
            self._pending[0][0] < self._released or not (self._held or self._inside_character())
        ):
            logprobs.append(self._pending.popleft()[1])
        return AssembledText(text, tuple(logprobs))

    def _inside_character(self) -> bool:
        return bool(self._decoder.getstate()[0])
