"""A session as a tree: its branches, earlier turns with another text or another answer, its end.

Invariant: what changes the branch in use waits for the turns that were requested before, and no
turn of a branch that was left is lost. Tool calls stay in the journal on whatever branch they ran:
their effects happened, and turns of other branches that may call tools are shown them.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial

from vanta.errors import UsageError
from vanta.messages import Exchange, Message, MessageContent
from vanta.runtime.conversations import Conversation, ForkedConversation, message_of
from vanta.runtime.exporting import ExportFormat, SessionExport
from vanta.runtime.options import TurnOptions
from vanta.runtime.turns.turn_tasks import TurnTasks
from vanta.scheduling.policy import Policy
from vanta.storage import Branch, SessionInfo, SessionQuery, Store
from vanta.text import well_formed_data
from vanta.trace import Reply

_Removal = Callable[[str, str], Awaitable[int]]


class SessionTree(ABC):
    """What `vanta.Session` can do with its earlier turns.

    :param conversation: the conversation.
    :param tasks: the task group of its turns.
    :param store: where it is kept.
    """

    def __init__(self, conversation: Conversation, tasks: TurnTasks, store: Store) -> None:
        self._conversation = conversation
        self._tasks = tasks
        self._store = store

    @property
    def id(self) -> str:
        """The session's name, unique for its user."""
        return self._conversation.session

    @property
    def user(self) -> str:
        """The user of the conversation."""
        return self._conversation.user

    @abstractmethod
    async def _ask(self, content: MessageContent, options: TurnOptions) -> Reply:
        """Run a turn."""

    async def exchanges(self, branch: str = "") -> list[Exchange]:
        """Return the turns of a branch, each with its id and its messages, oldest first.

        :param branch: the branch's name; "" for the one in use.
        :raises UnknownName: if there is no such branch.
        :raises StoreError: if the transcript cannot be read.
        """
        return (await self._store.branch_history(self.user, self.id, branch))[1]

    async def history(self) -> list[Message]:
        """Return all messages of the conversation, on the branch in use, oldest first.

        :raises StoreError: if the transcript cannot be read.
        """
        return [message for exchange in await self.exchanges() for message in exchange.messages]

    async def edit(
        self, turn: str, text: MessageContent, options: TurnOptions | None = None
    ) -> Reply:
        """Replace the message of an earlier turn, and answer the new one.

        The new turn is on a branch of its own, whose history ends before the replaced turn, and
        which later turns continue. If the turn fails, nothing has changed. The replaced turn and
        those after it stay on their branch, and are not recalled any more. The turn is private if
        the replaced one was, unless `options` say otherwise.

        To watch the turn, use `stream` with `TurnOptions(replaces=turn)`.

        :param turn: the turn's id, or the beginning of it; see `exchanges`.
        :param text: the new message, as for `ask`.
        :param options: as for `ask`.
        :returns: the reply; its exchange is durable.
        :raises UsageError: if there is no such turn.
        :raises VantaError: as for `ask`.
        """
        chosen = options or TurnOptions()
        return await self._ask(text, dataclasses.replace(chosen, replaces=turn))

    async def regenerate(
        self,
        turn: str | None = None,
        *,
        track: str | None = None,
        policy: str | Policy | None = None,
        options: TurnOptions | None = None,
    ) -> Reply:
        """Answer the message of an earlier turn again; see `edit`.

        :param turn: the turn's id, or the beginning of it; None for the latest turn.
        :param track: the name of one track that answers alone.
        :param policy: the name of a policy, or a policy.
        :param options: as for `ask`; `track` and `policy` take precedence.
        :returns: the reply; its exchange is durable.
        :raises UsageError: if there is no such turn.
        :raises VantaError: as for `ask`.
        """
        exchange = await self.exchange(turn)
        chosen = TurnOptions(track=track, policy=policy, replaces=exchange.turn)
        return await self._ask(message_of(exchange).parts, chosen.over(options))

    async def exchange(self, turn: str | None = None) -> Exchange:
        """Return a turn's messages, on whatever branch it is.

        :param turn: the turn's id, or the beginning of it; None for the latest of the branch in
            use.
        :raises UsageError: if there is no such turn.
        :raises StoreError: if the transcript cannot be read.
        """
        if turn is not None:
            return await self._store.exchange(self.user, self.id, turn)
        exchanges = await self.exchanges()
        if not exchanges:
            raise UsageError(f"session {self.id!r} has no turn yet. Send a message first.")
        return exchanges[-1]

    async def branches(self) -> list[Branch]:
        """Return all branches, the main one first.

        :raises StoreError: if the transcript cannot be read.
        """
        return await self._store.branches(self.user, self.id)

    async def branch(self, at: str | int | None = None, name: str = "") -> Branch:
        """Begin a branch beside the others, which later turns continue.

        It replaces nothing: what other branches have stays in memory.

        :param at: the turn that it continues, by its id or the beginning of it; or the number of a
            message in `history()`, negative ones from the end. After an answer, the branch
            continues; a message of the user it does without, so that another can take its place.
            None for the latest turn, "" for the beginning of the session.
        :param name: its name; "" for a number.
        :raises UsageError: for a turn or a message that does not exist, or a name that cannot be
            used.
        :raises StoreError: if it cannot be written.
        """
        self._tasks.home.require()
        async with self._conversation.lock:
            after = await self._turn_at(at)
            add = partial(self._store.add_branch, self.user, self.id)
            return await self._changed(await add(after, *well_formed_data((name,))))

    async def switch(self, branch: str) -> Branch:
        """Have later turns continue a branch.

        What the branch has counts again, also for memory, instead of its alternatives.

        :param branch: the branch's name.
        :raises UnknownName: if there is no such branch.
        :raises StoreError: if it cannot be written.
        """
        self._tasks.home.require()
        async with self._conversation.lock:
            await self._store.use_branch(self.user, self.id, branch)
            return await self._changed(branch)

    async def info(self) -> SessionInfo:
        """Return the title, times and costs of the session.

        :raises StoreError: if the store cannot be read.
        """
        query = SessionQuery(self.user, self.id, private=True)
        found = await self._store.sessions(query)
        return found[0] if found else SessionInfo(id=self.id, user=self.user)

    async def rename(self, title: str) -> None:
        """Give the session a title.

        :param title: the title; "" for none, so that the first message stands for it.
        :raises UsageError: if the title is too long, or has several lines.
        :raises StoreError: if it cannot be written.
        """
        await self._store.rename_session(self.user, self.id, title)

    async def export(
        self, form: ExportFormat = "jsonl", *, calls: bool = False, traces: bool = False
    ) -> str:
        """Return the whole session as text, with all its branches.

        :param form: `jsonl`, one JSON object a line, or `markdown`, to read.
        :param calls: include tool calls, their results, and the journal's records of them.
        :param traces: include the record of every turn.
        :raises UsageError: for a form that does not exist.
        :raises StoreError: if the store cannot be read.
        """
        export = SessionExport(self._store, await self.info(), calls=calls, traces=traces)
        return await export.text(form)

    async def clear(self) -> int:
        """Delete the conversation, with what memory took from it: messages, facts and summaries.

        All branches are deleted. Documents and other sessions stay, and so do the session's title
        and settings. `Memory.forget` also leaves no byte in the files.

        :returns: the number of messages that it had.
        :raises StoreError: if the transcript cannot be written.
        """
        return await self._remove(self._store.clear)

    async def delete(self) -> int:
        """Delete the session: what `clear` deletes, its title and its settings.

        The records of its turns and calls stay without their text, and so does the mark of a
        private session: the name is private if it is used again.

        :returns: the number of messages that it had.
        :raises StoreError: if the store cannot be written.
        """
        return await self._remove(self._store.delete_session)

    async def _remove(self, remove: _Removal) -> int:
        self._tasks.home.require()
        async with self._conversation.lock:
            try:
                return await remove(self.user, self.id)
            finally:
                self._conversation.drop_history()
                self._conversation.settings = None

    async def _turn_at(self, at: str | int | None) -> str | None:
        """Return the turn that a branch continues, None for the beginning of the session."""
        if isinstance(at, str):
            return at or None
        exchanges = await self.exchanges()
        if at is None:
            return exchanges[-1].turn if exchanges else None
        places = [
            (number, message)
            for number, exchange in enumerate(exchanges)
            for message in exchange.messages
        ]
        if not -len(places) <= at < len(places):
            raise UsageError(
                f"session {self.id!r} has no message {at}: its history has {len(places)}. Choose a "
                "number in that range, or the id of a turn."
            )
        number, message = places[at]
        before = number - 1 if message.role == "user" else number
        return exchanges[before].turn if before >= 0 else None

    async def _changed(self, name: str) -> Branch:
        """Have the history read again, and return the branch in use."""
        self._conversation.drop_history()
        return next(branch for branch in await self.branches() if branch.name == name)

    async def _forked(
        self, message: Message, options: TurnOptions, replaces: str
    ) -> tuple[ForkedConversation, TurnOptions]:
        """Return the conversation of a turn that replaces another one, and its options."""
        forked = await self._conversation.forked(self._store, replaces, message)
        if forked.replaces_private and options.private is None:
            options = dataclasses.replace(options, private=True)
        return forked, options
