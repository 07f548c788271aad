"""The conversations of a runtime, and what this process keeps of their text.

Histories are kept in memory between turns, and engines keep prompts they have read. Invariant: text
that any process removed from the store is sent by none afterwards: each turn compares the user's
removals with those that it knows, and drops what is out of date.
"""

from __future__ import annotations

import logging
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import anyio

from vanta.errors import EngineError, StoreError
from vanta.messages import Exchange, Message
from vanta.storage import Fork, Store, TurnPlace
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
    :param settings: what the store keeps for its turns, as far as it was read; None for nothing.
    :param branch: the branch that the history is of; "" until it is read.
    :param edition: grows with each change of the history.
    """

    user: str
    session: str
    home: Conversations
    history: list[Exchange] | None = None
    private: bool = False
    settings: Mapping[str, Any] | None = None
    branch: str = ""
    edition: int = 0
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def without(self) -> frozenset[str]:
        """Turns whose text its next turn must not recall."""
        return frozenset()

    @property
    def replaces(self) -> str:
        """The id of the turn that its turn takes the place of; "" for none."""
        return ""

    async def refresh(self, store: Store, *, for_turn: bool = False) -> None:
        """Read whether the session is private, and drop what was removed from the store.

        :param store: the store of the conversation.
        :param for_turn: read the history in the same step, if it is not known.
        :raises StoreError: if it cannot be read.
        """
        state = await self._read_all(store) if for_turn and self.history is None else None
        if state is None:
            state = await store.session_state(self.user, self.session)
        self.private, self.settings = state.private, state.settings
        await self.home.drop_removed(self.user, store, state.removals)

    @property
    def cache_key(self) -> str:
        """Under which name engines keep its prompts; "" for none."""
        return self.session

    @property
    def resumable(self) -> bool:
        """Whether the store has what a turn of it is resumed with."""
        return True

    async def answered(self, store: Store, turns: Collection[str]) -> frozenset[str]:
        """Return which turns were answered, of some that are not part of the history: none.

        :param store: the store of the conversation.
        :param turns: ids of turns.
        """
        return frozenset()

    async def _read_all(self, store: Store) -> SessionState | None:
        """Read state and history in one step; return None if that fails: a turn that has begun
        reads its history again, and reports the error."""
        edition = self.edition
        try:
            state, branch, history = await store.open_session(self.user, self.session)
        except StoreError:
            return None
        if self.history is None and self.edition == edition and not self.lock.locked():
            self.branch, self.history = branch, history
        return state

    async def load(self, store: Store) -> list[Exchange]:
        """Return the history, which is read if it is not known.

        :param store: the store of the conversation.
        :raises StoreError: if it cannot be read.
        """
        if self.history is None:
            self.branch, self.history = await store.branch_history(self.user, self.session)
        return self.history

    @property
    def place(self) -> TurnPlace | None:
        """Where its next turn is stored; None for the branch in use."""
        return TurnPlace(self.branch) if self.branch else None

    async def forked(self, store: Store, turn: str, message: Message) -> ForkedConversation:
        """Return the conversation for one turn that replaces an earlier one.

        :param store: the store of the conversation.
        :param turn: the id of the turn that is replaced, or the beginning of it.
        :param message: the message of the new turn.
        :raises UsageError: if there is no such turn.
        :raises StoreError: if it cannot be read.
        """
        replaced = await store.exchange(self.user, self.session, turn)
        fork = Fork(replaced.turn, "regenerate" if message == message_of(replaced) else "edit")
        forked = ForkedConversation(
            self.user, self.session, self.home, lock=self.lock, origin=self, fork=fork
        )
        forked.replaces_private = replaced.private
        await forked.refresh(store)
        return forked

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
        self.branch = ""


@dataclass(slots=True, weakref_slot=True, eq=False)
class ForkedConversation(Conversation):
    """A conversation for one turn that replaces an earlier one: its history ends before that one.

    :param origin: the conversation, whose place in the queue of turns it shares.
    :param fork: the turn that is replaced.
    :param gone: the turns that are replaced with it.
    :param replaces_private: whether the replaced turn is private.
    """

    origin: Conversation | None = None
    fork: Fork | None = None
    gone: frozenset[str] = frozenset()
    replaces_private: bool = False

    @property
    def place(self) -> TurnPlace | None:
        """Where its turn is stored: on a branch of its own."""
        return TurnPlace("", self.fork)

    @property
    def without(self) -> frozenset[str]:
        """Turns whose text its turn must not recall: those that it replaces."""
        return self.gone

    @property
    def replaces(self) -> str:
        """The id of the turn that its turn takes the place of."""
        return self.fork.turn if self.fork else ""

    async def refresh(self, store: Store, *, for_turn: bool = False) -> None:
        """Read the history again; see `Conversation.refresh`.

        :param store: the store of the conversation.
        :param for_turn: as for a conversation that is not forked.
        :raises UsageError: if the turn that it replaces is gone.
        :raises StoreError: if it cannot be read.
        """
        assert self.origin is not None and self.fork is not None  # noqa: S101, PT018 - it is forked
        await self.origin.refresh(store)
        self.private, self.settings = self.origin.private, self.origin.settings
        self.history, self.gone = await store.fork(self.user, self.session, self.fork)

    def add(self, exchange: Exchange) -> None:
        """Have the conversation read its history, which is that of the new branch now.

        :param exchange: the exchange, which is durable.
        """
        assert self.origin is not None  # noqa: S101 - it is forked
        self.origin.drop_history()

    def drop_history(self) -> None:
        """Have the conversation's history read again when it is needed next."""
        assert self.origin is not None  # noqa: S101 - it is forked
        self.origin.drop_history()


def message_of(exchange: Exchange) -> Message:
    """Return the user's message in an exchange."""
    first = (item for item in exchange.messages if item.role == "user")
    return next(first, Message("user", ""))


@dataclass(slots=True, weakref_slot=True, eq=False)
class PassingConversation(Conversation):
    """The conversation of one turn on a caller's transcript, which is its history.

    Nothing of it stays in this process. A turn of such a conversation is answered if the store says
    so, since its exchange need not be kept.

    :param is_named: whether the caller named it, so that its turns belong together.
    """

    is_named: bool = False

    @property
    def resumable(self) -> bool:
        """Whether the store has what a turn of it is resumed with."""
        return False

    @property
    def cache_key(self) -> str:
        """Under which name engines keep its prompts; "" for none."""
        return self.session if self.is_named else ""

    async def answered(self, store: Store, turns: Collection[str]) -> frozenset[str]:
        """Return which turns were answered.

        :param store: the store of the conversation.
        :param turns: ids of turns.
        :raises StoreError: if it cannot be read.
        """
        return await store.answered(turns)

    def add(self, exchange: Exchange) -> None:
        """Add an exchange to the session of this name, if one is open in this process.

        :param exchange: the exchange.
        """
        self.home.add(self.user, self.session, exchange)


class Conversations:
    """All conversations of one runtime.

    :param tracks: the tracks by name, whose engines may keep text.
    """

    def __init__(self, tracks: Mapping[str, Track]) -> None:
        self._tracks = tracks
        self._all: WeakValueDictionary[tuple[str, str], Conversation] = WeakValueDictionary()
        self._passing: WeakSet[PassingConversation] = WeakSet()
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

    def passing(self, user: str, session: str, history: Iterable[Exchange]) -> PassingConversation:
        """Return a conversation for one turn on a caller's transcript.

        :param user: the user's name.
        :param session: the name that the caller gives it; "" for none.
        :param history: the past of the transcript.
        """
        name = session or f"complete-{uuid.uuid4().hex}"
        passing = PassingConversation(
            user, name, self, history=list(history), is_named=bool(session)
        )
        self._passing.add(passing)
        return passing

    def add(self, user: str, session: str, exchange: Exchange) -> None:
        """Add an exchange, which is durable, to a conversation if this process has it open.

        :param user: the user's name.
        :param session: the session's id.
        :param exchange: the exchange.
        """
        conversation = self._all.get((user, session))
        if conversation is not None:
            conversation.add(exchange)

    def busy(self) -> list[Conversation]:
        """Return the conversations in which a turn runs."""
        return [item for item in (*self._all.values(), *self._passing) if item.lock.locked()]

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
