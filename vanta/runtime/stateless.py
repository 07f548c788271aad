"""Turns on a transcript that the caller owns: no session, and memory and storage on request only.

The rules are those of a session's turn: policy, deadline, money, privacy, failover, rounds, and
each call at most once. Invariant: nothing of one such turn is shown in another. Its conversation
has a name of its own, or the name that the caller gives it; the record of the turn, which has no
text, and the journal of its calls are kept under that name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack, overload

import anyio

from vanta.concurrency import HomeProcess
from vanta.engine import Tool
from vanta.errors import UnknownName, UsageError, internal_errors
from vanta.events import Event
from vanta.messages import Message
from vanta.prompts import RenderedPrompt, TurnDefaults
from vanta.runtime.conversations import Conversations, PassingConversation
from vanta.runtime.options import TranscriptChoice, TurnOptions
from vanta.runtime.turns.agency import NAME_IT, Agency
from vanta.runtime.turns.caller_tools import CallerTools, read_tools, require_choice
from vanta.runtime.turns.rounds import RoundRules
from vanta.runtime.turns.transcript import PRIVATE_MESSAGE, Transcript, read_transcript
from vanta.runtime.turns.turn import Turn
from vanta.runtime.turns.turn_settings import TurnPlanner, TurnSettings
from vanta.runtime.turns.turn_stream import TurnStream, streamed
from vanta.runtime.turns.turn_tasks import TurnTasks
from vanta.storage import Store, store_waits_until
from vanta.text import well_formed_data
from vanta.trace import OutputT, Reply

NOTHING_TO_REPLACE = (
    "TurnOptions.replaces is {!r}, and a turn on a transcript replaces no turn: the store has none "
    "of its messages. Shorten the transcript instead, or use a session."
)

NOT_KEPT = (
    "a turn on a transcript is not kept while a person is asked: approvals={!r} is not possible. "
    "Answer in its stream, pass vanta.open(approve=...), or use a session."
)

Messages = Iterable[Message | Mapping[str, Any]]
"""A transcript: messages, or mappings as OpenAI's chat protocol has them."""

Tools = Iterable[Tool | str]
"""Tools of the caller, and names of vanta's toolsets and tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptRequest:
    """What a caller asks for; see `vanta.Runtime.complete`."""

    messages: Messages
    tools: Tools | None
    tool_choice: str | None
    output: Any
    options: TurnOptions | None
    user: str
    session: str
    memory: bool
    store: bool


class StatelessTurns:
    """Begins the turns of one runtime on transcripts of callers.

    :param planner: resolves the options of turns.
    :param conversations: the runtime's conversations.
    :param agency: the runtime's tools, None if it has none.
    :param store: where records are kept.
    """

    def __init__(
        self,
        planner: TurnPlanner,
        conversations: Conversations,
        agency: Agency | None,
        store: Store,
    ) -> None:
        self._planner = planner
        self._conversations = conversations
        self._agency = agency
        self._store = store

    async def begin(self, asked: TranscriptRequest, emit: Callable[[Event], None]) -> Turn:
        """Start the clock of a turn, check what the caller passed, and resolve the settings.

        :param asked: what the caller asks for.
        :param emit: called with each event.
        :raises UsageError: if the transcript or a tool cannot be used.
        """
        started_at = anyio.current_time()
        with internal_errors("the turn could not begin"):
            user, session = well_formed_data((asked.user, asked.session))
            transcript = read_transcript(asked.messages)
            own, names = read_tools(asked.tools)
            if names is None and (asked.options is None or asked.options.tools is None):
                names = []
            chosen = TurnOptions(tools=names, tool_choice=asked.tool_choice, output=asked.output)
            options = chosen.over(asked.options)
            if options.replaces is not None:
                raise UsageError(NOTHING_TO_REPLACE.format(options.replaces))
            if options.approvals in ("wait", "park"):
                raise UsageError(NOT_KEPT.format(options.approvals))
            until = started_at + self._planner.deadline_s(options)
            conversation = self._conversations.passing(user, session, transcript.history)
            with store_waits_until(until):
                await conversation.refresh(self._store)
            await self._planner.refresh(until)
            because = await self._why_private(transcript, options, conversation, until)
            settings = self._settings(transcript, options, own, conversation, because)
            if not asked.memory:
                settings = dataclasses.replace(settings, memory=None)
            settings = dataclasses.replace(settings, keeps=asked.store)
        return Turn(
            conversation,
            transcript.message,
            settings,
            emit,
            started_at,
            following=transcript.following,
        )

    async def _why_private(
        self,
        transcript: Transcript,
        options: TurnOptions,
        conversation: PassingConversation,
        until: float,
    ) -> str | None:
        """Return why the turn is private although its caller does not say so, or None."""
        private = conversation.private if options.private is None else options.private
        if private:
            return None
        if transcript.is_private:
            return PRIVATE_MESSAGE
        return await self._planner.search(transcript.text, until, transcript.images)

    def _settings(
        self,
        transcript: Transcript,
        options: TurnOptions,
        own: CallerTools,
        conversation: PassingConversation,
        because: str | None,
    ) -> TurnSettings:
        choice = options.tool_choice or "auto"
        own = CallerTools() if choice == "none" else own
        system = transcript.system
        settings = self._planner.settings(
            transcript.message.content,
            conversation.user,
            options,
            private=conversation.private,
            private_because=because,
            prompt=None if system is None else RenderedPrompt(system, TurnDefaults()),
        )
        tools = None
        if options.tools and self._agency is None:
            raise UnknownName("toolset", next(iter(options.tools)), (), hint=NAME_IT)
        if options.tools and self._agency is not None:
            tools = self._agency.of_turn(options, own.names)
        if tools is None:
            require_choice(choice, own)
        return dataclasses.replace(
            settings,
            tools=tools,
            own_tools=own,
            rounds=RoundRules(max_rounds=self._planner.max_rounds, tool_choice=choice),
        )


class TranscriptTurns:
    """The part of a runtime that answers transcripts of its callers."""

    _stateless: StatelessTurns
    _home: HomeProcess
    turn_tasks: TurnTasks

    def _observe(self, event: Event) -> None:
        """Pass an event to the observers."""
        raise NotImplementedError

    @overload
    async def complete(self, messages: Messages, **choice: Unpack[TranscriptChoice]) -> Reply: ...

    @overload
    async def complete(
        self, messages: Messages, *, output: type[OutputT], **choice: Unpack[TranscriptChoice]
    ) -> Reply[OutputT]: ...

    @overload
    async def complete(
        self, messages: Messages, *, output: Any, **choice: Unpack[TranscriptChoice]
    ) -> Reply: ...

    async def complete(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        tool_choice: str | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
        user: str = "default",
        session: str = "",
        memory: bool = False,
        store: bool = False,
    ) -> Reply:
        """Answer a transcript that the caller owns, under the same rules as a session's turn.

        A call of a tool of the caller is not run: the turn ends, `reply.tool_calls` has the call,
        and `reply.finish_reason` is `tool_calls`. To continue, send the transcript again with
        `reply.messages` and a message of the role `tool` for each of these calls.

        :param messages: the transcript, oldest first: `vanta.Message`, or mappings as OpenAI's chat
            protocol has them. System messages at its beginning are the system prompt. Without any,
            it is the configured one, as in a session; one with an empty text leaves it out.
        :param tools: tools of the caller, whose calls are returned, and names of toolsets or tools
            of this runtime, whose calls are run. None for no tools.
        :param tool_choice: `auto`, `none`, `required` or the name of a tool.
        :param output: the type of the answer, as for `Session.ask`. A reply with calls that are
            returned has none.
        :param options: how the turn is answered. `tools`, `tool_choice` and `output` take
            precedence over it; `replaces`, and approvals that wait or park, are refused.
        :param user: whose text it is: what engines keep for one user is of no use to another.
        :param session: a name for the turns of one conversation, for its caps, its approvals, and
            prompts that engines keep; "" for none. Messages of a session of this name are not read.
        :param memory: whether memories of the user are recalled.
        :param store: whether message and answer are kept as an exchange of the session, from which
            memory takes them. Not if the turn ends with calls that are returned.
        :returns: the reply.
        :raises UsageError: if the transcript or a tool cannot be used; the message says where.
        :raises VantaError: what `Session.ask` raises.
        """
        asked = TranscriptRequest(
            messages=messages,
            tools=tools,
            tool_choice=tool_choice,
            output=output,
            options=options,
            user=user,
            session=session,
            memory=memory,
            store=store,
        )
        self._home.require()
        turn = await self._stateless.begin(asked, self._observe)
        return await self.turn_tasks.run(turn.run)

    @overload
    def stream(
        self, messages: Messages, **choice: Unpack[TranscriptChoice]
    ) -> AbstractAsyncContextManager[TurnStream]: ...

    @overload
    def stream(
        self, messages: Messages, *, output: type[OutputT], **choice: Unpack[TranscriptChoice]
    ) -> AbstractAsyncContextManager[TurnStream[OutputT]]: ...

    @overload
    def stream(
        self, messages: Messages, *, output: Any, **choice: Unpack[TranscriptChoice]
    ) -> AbstractAsyncContextManager[TurnStream]: ...

    @asynccontextmanager
    async def stream(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        tool_choice: str | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
        user: str = "default",
        session: str = "",
        memory: bool = False,
        store: bool = False,
    ) -> AsyncIterator[TurnStream]:
        """Answer a transcript and watch the turn: `async with runtime.stream(...) as turn`.

        Parameters and errors are those of `complete`, the context is that of `Session.stream`.
        """
        asked = TranscriptRequest(
            messages=messages,
            tools=tools,
            tool_choice=tool_choice,
            output=output,
            options=options,
            user=user,
            session=session,
            memory=memory,
            store=store,
        )
        self._home.require()
        begin = partial(self._stateless.begin, asked)
        async with streamed(self.turn_tasks, self._observe, begin) as turn:
            yield turn
