"""Stop strings on a stream: nothing of a stop string ever gets out.

Invariant: `feed` and `flush` together give the text up to the stop string that was complete first,
however the text was cut into pieces; what could be the beginning of one is held back until it is
known to be none.
"""

from __future__ import annotations


class StopFilter:
    """Watches a stream of text for any of `stops`."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """What may go out after `text` came in; `hit` is True once a stop string was met."""
        if not self._stops:
            return text
        held = self._held + text
        met = [(at + len(stop), at) for stop in self._stops if (at := held.find(stop)) >= 0]
        if met:
            self.hit, self._held = True, ""
            return held[: min(met)[1]]
        keep = max(_overlap(held, stop) for stop in self._stops)
        cut = len(held) - keep
        self._held = held[cut:]
        return held[:cut]

    def flush(self) -> str:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that a stop string could begin with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
