"""The conversations of a runtime, and what this process keeps of their text.

Histories are kept in memory between turns, and engines keep prompts they have read. Invariant: text
that any process removed from the store is sent by none afterwards: each turn compares the user's
removals with those that it knows, and drops what is out of date.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio

from vanta.errors import EngineError, StoreError
from vanta.messages import Exchange
from vanta.storage import Store
from vanta.storage.schema import Removals, SessionState
from vanta.track import Track

RECENT = 128
"""Conversations that stay in memory although no session refers to them."""

_log = logging.getLogger("vanta")


@dataclass(slots=True, weakref_slot=True, eq=False)
class Conversation:
    """The state of a session between turns.

    :param home: the conversations that it is one of.
    :param history: its exchanges; None until they are read from the store.
    :param private: whether the store has it as a private session, as far as it was read.
    :param edition: grows with each change of the history.
    """

    user: str
    session: str
    home: Conversations
    history: list[Exchange] | None = None
    private: bool = False
    edition: int = 0
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def refresh(self, store: Store, *, for_turn: bool = False) -> None:
        """Read whether the session is private, and drop what was removed from the store.

        :param store: the store of the conversation.
        :param for_turn: read the history in the same step, if it is not known.
        :raises StoreError: if it cannot be read.
        """
        state = await self._read_all(store) if for_turn and self.history is None else None
        if state is None:
            state = await store.session_state(self.user, self.session)
        self.private = state.private
        await self.home.drop_removed(self.user, store, state.removals)

    async def _read_all(self, store: Store) -> SessionState | None:
        """Read state and history in one step; return None if that fails: a turn that has begun
        reads its history again, and reports the error."""
        edition = self.edition
        try:
            state, history = await store.open_session(self.user, self.session)
        except StoreError:
            return None
        if self.history is None and self.edition == edition and not self.lock.locked():
            self.history = history
        return state

    def add(self, exchange: Exchange) -> None:
        """Add an exchange, which is durable, to the history.

        :param exchange: the exchange.
        """
        self.edition += 1
        if self.history is not None:
            self.history.append(exchange)

    def drop_history(self) -> None:
        """Have the history read again when it is needed next."""
        self.edition += 1
        self.history = None


class Conversations:
    """All conversations of one runtime.

    :param tracks: the tracks by name, whose engines may keep text.
    """

    def __init__(self, tracks: Mapping[str, Track]) -> None:
        self._tracks = tracks
        self._all: WeakValueDictionary[tuple[str, str], Conversation] = WeakValueDictionary()
        self._recent: OrderedDict[tuple[str, str], Conversation] = OrderedDict()
        self._removed: WeakKeyDictionary[Store, dict[str, int]] = WeakKeyDictionary()
        self._forgotten: WeakKeyDictionary[Store, int] = WeakKeyDictionary()

    def get(self, user: str, session: str) -> Conversation:
        """Return the one conversation of that name; recent ones keep their history in memory.

        :param user: the user's name.
        :param session: the session's id.
        """
        conversation = self._all.get((user, session))
        if conversation is None:
            conversation = Conversation(user, session, self)
            self._all[user, session] = conversation
        self._recent[user, session] = conversation
        self._recent.move_to_end((user, session))
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return conversation

    def busy(self) -> list[Conversation]:
        """Return the conversations in which a turn runs."""
        return [item for item in self._all.values() if item.lock.locked()]

    async def drop_removed(self, user: str, store: Store, removals: Removals) -> None:
        """Drop what this process keeps of removed text, if some was removed since the last call.

        :param user: the user's name.
        :param store: the store that the removals are of.
        :param removals: the latest removals.
        """
        removed = self._removed.setdefault(store, {})
        if removed.get(user, removals.last) != removals.last:
            self._drop_histories(user)
        removed[user] = removals.last
        forgotten = self._forgotten.get(store, removals.last_forgotten)
        self._forgotten[store] = removals.last_forgotten
        if forgotten != removals.last_forgotten:
            # Of whatever user: an engine may save the prompts of all when it needs room.
            for reason in await self._forget_prompts():
                _log.warning("text was forgotten by another process, but %s", reason)

    async def forget(self, user: str, store: Store) -> str:
        """Drop a user's histories and the engines' caches of earlier prompts.

        :param user: the user whose text was forgotten.
        :param store: the store that it was removed from.
        :returns: why an engine may still keep some text; "" if none does.
        :raises StoreError: if the store cannot be read.
        """
        self._drop_histories(user)
        state = await store.session_state(user, "")
        self._removed.setdefault(store, {})[user] = state.removals.last
        self._forgotten[store] = state.removals.last_forgotten
        return "; ".join(await self._forget_prompts())

    async def close(self, store: Store) -> None:
        """Have the engines drop what was forgotten since the last turn, before they save prompts.

        :param store: the runtime's store.
        """
        try:
            state = await store.session_state("", "")
            await self.drop_removed("", store, state.removals)
        except StoreError as error:
            _log.warning("whether text was forgotten meanwhile is not known: %s", error)

    def _drop_histories(self, user: str) -> None:
        for conversation in self._all.values():
            if conversation.user == user:
                conversation.drop_history()

    async def _forget_prompts(self) -> list[str]:
        """Have every engine forget; return why some may keep text."""
        reasons = []
        for track in self._tracks.values():
            try:
                await track.forget()
            except EngineError as error:
                reasons.append(f"track {track.name!r} may keep some of it: {error}")
        return reasons
