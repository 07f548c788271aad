"""A session: one conversation with one user.

Invariant: the turns of a session run one after another, in the order in which they were requested;
every other session is independent. Its history survives a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Unpack, overload

import anyio

from vanta.context.preparer import merge_sampling
from vanta.engine import Sampling
from vanta.errors import internal_errors
from vanta.events import Observer
from vanta.messages import Message, MessageContent
from vanta.prompts import SystemPrompt
from vanta.runtime.conversations import Conversation
from vanta.runtime.kept_settings import NOT_KEPT, Kept, prompt_of, sampling_of
from vanta.runtime.options import NOT_ISOLATED, Isolation, TurnChoice, TurnOptions
from vanta.runtime.session_tree import SessionTree
from vanta.runtime.turns.turn import Turn
from vanta.runtime.turns.turn_settings import TurnPlanner
from vanta.runtime.turns.turn_stream import TurnStream, streamed
from vanta.runtime.turns.turn_tasks import TurnTasks
from vanta.scheduling.policy import Policy
from vanta.storage import Store, store_waits_until
from vanta.trace import OutputT, Reply


class Session(SessionTree):
    """One conversation; get it from `Runtime.session`."""

    def __init__(
        self,
        conversation: Conversation,
        planner: TurnPlanner,
        tasks: TurnTasks,
        observe: Observer,
        store: Store,
        *,
        private: bool | None = None,
        prompt: SystemPrompt | None = None,
        sampling: Sampling | None = None,
        keep: Kept = NOT_KEPT,
        isolation: Isolation = NOT_ISOLATED,
    ) -> None:
        super().__init__(conversation, tasks, store)
        self._planner = planner
        self._observe = observe
        self._sampling = sampling
        self._keep = keep
        self._prompt = prompt
        self._isolation = isolation
        self._private = private

    @property
    def private(self) -> bool:
        """Whether its turns are confined to private tracks unless they say otherwise.

        What the store says of a session counts once it was read: by `refresh`, or by a turn.
        """
        return self._conversation.private if self._private is None else self._private

    @overload
    async def ask(self, text: MessageContent, **choice: Unpack[TurnChoice]) -> Reply: ...

    @overload
    async def ask(
        self, text: MessageContent, *, output: type[OutputT], **choice: Unpack[TurnChoice]
    ) -> Reply[OutputT]: ...

    @overload
    async def ask(
        self, text: MessageContent, *, output: Any, **choice: Unpack[TurnChoice]
    ) -> Reply: ...

    async def ask(
        self,
        text: MessageContent,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
    ) -> Reply:
        """Send `text` and return the whole reply.

        With neither `policy` nor `track`, the system prompt's template decides, then the
        configuration.

        :param text: the user's message: a text, or parts, such as
            `["What is this?", vanta.Image.read("photo.jpg")]`.
        :param policy: the name of a policy, or a policy.
        :param track: the name of one track that answers alone.
        :param deadline_s: seconds that the whole turn may take, waiting for the session's earlier
            turns included.
        :param private: whether the turn is confined to private tracks; None for the session's rule.
        :param sampling: its set fields take precedence over the template's, and those over the
            track's.
        :param output: the type of the answer: a pydantic model, a dataclass, a TypedDict, an enum,
            `Literal`, lists and unions of them, `int`, `float`, `bool`; or a JSON Schema, a
            mapping. The reply's `output` is a value of it; any other answer does not count.
        :param options: the same six as one object; the other arguments take precedence over it.
        :returns: the reply; its exchange is durable.
        :raises AllTracksFailed: if no track could answer.
        :raises NoTrack: if no track may take part.
        :raises UnknownName: for a policy or a track that does not exist.
        :raises TemplateError: if the system prompt cannot be rendered.
        :raises StoreError: if the transcript cannot be read or written.
        :raises InternalError: for a fault of vanta or of a plugin.
        :raises RunError: if the runtime is closed meanwhile.
        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        chosen = TurnOptions(
            policy=policy,
            track=track,
            deadline_s=deadline_s,
            private=private,
            sampling=sampling,
            output=output,
        )
        turn = await self._begin(text, chosen.over(options), self._observe)
        return await self._tasks.run(turn.run)

    @overload
    def stream(
        self, text: MessageContent, **choice: Unpack[TurnChoice]
    ) -> AbstractAsyncContextManager[TurnStream]: ...

    @overload
    def stream(
        self, text: MessageContent, *, output: type[OutputT], **choice: Unpack[TurnChoice]
    ) -> AbstractAsyncContextManager[TurnStream[OutputT]]: ...

    @overload
    def stream(
        self, text: MessageContent, *, output: Any, **choice: Unpack[TurnChoice]
    ) -> AbstractAsyncContextManager[TurnStream]: ...

    @asynccontextmanager
    async def stream(
        self,
        text: MessageContent,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
    ) -> AsyncIterator[TurnStream]:
        """Send `text` and watch the turn: `async with session.stream(...) as turn`.

        Leaving the context before the turn is over cancels the turn, and waits until all its legs
        have stopped. It may be left at any point and from any task, as when an asynchronous
        generator around it is closed. Parameters and errors are those of `ask`; errors of a turn
        that has started are raised where the turn is iterated.
        """
        chosen = TurnOptions(
            policy=policy,
            track=track,
            deadline_s=deadline_s,
            private=private,
            sampling=sampling,
            output=output,
        )
        begin = partial(self._begin, text, chosen.over(options))
        async with streamed(self._tasks, self._observe, begin) as turn:
            yield turn

    async def refresh(self) -> None:
        """Read from the store whether the session is private, for `private`.

        :raises StoreError: if the store cannot be read.
        """
        await self._conversation.refresh(self._store)

    async def _ask(self, content: MessageContent, options: TurnOptions) -> Reply:
        return await self.ask(content, options=options)

    async def _begin(self, content: MessageContent, options: TurnOptions, emit: Observer) -> Turn:
        """Start the clock of a turn, and resolve its settings under templates that are current."""
        self._tasks.home.require()
        started_at = anyio.current_time()
        with internal_errors("the turn could not begin"):
            message = Message.of("user", content)
            until = started_at + self._planner.deadline_s(options)
            conversation: Conversation = self._conversation
            with store_waits_until(until):
                await self._agree()
                if options.replaces is not None:
                    conversation, options = await self._forked(message, options, options.replaces)
            await self._planner.refresh(until)
            private = self.private if options.private is None else options.private
            search = partial(self._planner.search, message.content, until, message.images)
            because = None if private else await search()
            settings = self._planner.settings(
                message.content,
                self.user,
                self._with_sampling(options),
                private=self.private,
                private_because=because,
                prompt=self._own_prompt(),
                isolation=self._isolation,
            )
        return Turn(conversation, message, settings, emit, started_at)

    def _own_prompt(self) -> SystemPrompt | None:
        """Return the system prompt of the caller, else the one that is kept, else None."""
        if self._prompt is not None:
            return self._prompt
        system, variables = prompt_of(self._conversation.settings)
        if system is None and not variables:
            return None
        return self._planner.prompt(self.user, system, variables)

    def _with_sampling(self, options: TurnOptions) -> TurnOptions:
        """Return options with the session's sampling under their own."""
        own = self._sampling or sampling_of(self._conversation.settings)
        if own is None:
            return options
        chosen = merge_sampling(own, options.sampling) if options.sampling else own
        return replace(options, sampling=chosen)

    async def _agree(self) -> None:
        """Read whether the session is private and what it keeps, or store what its caller says."""
        conversation = self._conversation
        await conversation.refresh(self._store, for_turn=True)
        if self._private is not None and self._private != conversation.private:
            user, session = conversation.user, conversation.session
            await self._store.set_private(user, session, private=self._private)
            conversation.private = self._private
        if self._keep.wanted and self._keep.data != conversation.settings:
            await self._store.keep_settings(self.user, self.id, self._keep.data)
            conversation.settings = self._keep.data
