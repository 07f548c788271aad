"""All that a runtime has learnt about its tracks: collected, published, and forgotten on request.

Invariant: whatever changes how a track is used because of an earlier answer is listed here, has an
expiry, and is gone after `forget`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import anyio

from vanta.context.token_cache import token_cache_of
from vanta.errors import StoreError
from vanta.learning import Learnt
from vanta.scheduling.track_stats import TrackStats
from vanta.storage import learnt_board
from vanta.storage.learnt_board import LearntBoard
from vanta.track import Track

PUBLISH_S = 0.25
"""Seconds for which a turn waits for the board at most."""

_log = logging.getLogger("vanta")


class LearntFacts:
    """What one runtime has learnt.

    :param tracks: its tracks, by name.
    :param track_stats: what the scheduler has learnt about them.
    :param board: where other processes read it.
    """

    def __init__(
        self, tracks: Mapping[str, Track], track_stats: TrackStats, board: LearntBoard
    ) -> None:
        self._tracks = tracks
        self._track_stats = track_stats
        self._board = board
        self._next_s = 0.0

    def facts(self) -> Sequence[Learnt]:
        """Return all facts that are still believed. Call it on the event loop."""
        return list(self._facts())

    def forget(self, track: str | None = None, what: str | None = None) -> None:
        """Forget facts, as if they had never been learnt.

        :param track: the track, or None for all.
        :param what: the kind of fact, or None for all.
        """
        for name, item in self._tracks.items():
            if track not in (None, name):
                continue
            self._track_stats.forget(name, what)
            if what in (None, "window"):
                token_cache_of(item.engine).forget_window()
            item.engine.forget_learnt(what)

    async def publish(self) -> None:
        """Write the facts to the board, and forget what a person has removed from it.

        At most every `learnt_board.CHECK_S` seconds, since collecting them takes a part of a
        millisecond. Never raises: a turn does not depend on it.
        """
        now = anyio.current_time()
        if now < self._next_s:
            return
        self._next_s = now + learnt_board.CHECK_S
        try:
            with anyio.move_on_after(PUBLISH_S):
                for track, what in await self._board.publish(self._facts()):
                    self.forget(track, what)
        except StoreError as error:
            _log.debug("what was learnt about tracks could not be written: %s", error)

    def _facts(self) -> Iterator[Learnt]:
        now = anyio.current_time()
        for name, track in self._tracks.items():
            yield from self._track_stats.learnt(name, now)
            yield from (replace(fact, track=name) for fact in token_cache_of(track.engine).learnt())
            yield from (replace(fact, track=name) for fact in track.engine.learnt())
