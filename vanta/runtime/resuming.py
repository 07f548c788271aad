"""Resumes turns that wait for a person, in this process.

A resumed turn is a turn of its session like any other: it waits for the session's earlier turns,
reads the history as it is by now, and its exchange comes after those that were added meanwhile.

Invariant: a turn is resumed by the process that has claimed it, and by no other; whatever ends it
before its calls are decided leaves it parked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio

from vanta.errors import internal_errors
from vanta.events import Observer
from vanta.runtime.conversations import Conversation, Conversations
from vanta.runtime.options import TurnOptions
from vanta.runtime.turns.parked_turn import TurnState
from vanta.runtime.turns.turn import Turn
from vanta.runtime.turns.turn_settings import TurnPlanner
from vanta.runtime.turns.turn_stream import TurnStream, streamed
from vanta.runtime.turns.turn_tasks import TurnTasks
from vanta.storage import Store, store_waits_until
from vanta.tools import ApprovalMode, ParkedTurns
from vanta.trace import Reply


class Resuming:
    """Resumes the parked turns of a runtime.

    :param store: the runtime's store.
    :param conversations: its conversations.
    :param planner: makes the settings of its turns.
    :param tasks: the task group of its turns.
    :param observe: is called with each event.
    :ivar turns: the parked turns.
    """

    def __init__(
        self,
        store: Store,
        conversations: Conversations,
        planner: TurnPlanner,
        tasks: TurnTasks,
        observe: Observer,
    ) -> None:
        self.turns = ParkedTurns(store, expire_s=planner.approvals_expire_s)
        self._store = store
        self._conversations = conversations
        self._planner = planner
        self._tasks = tasks
        self._observe = observe

    async def resume(
        self,
        turn_id: str,
        approve: Sequence[str],
        deny: Sequence[str],
        approvals: ApprovalMode | None,
    ) -> Reply:
        """Resume a turn and return its reply; see `vanta.Runtime.resume`."""
        turn = await self._begin(turn_id, approve, deny, approvals, self._observe)
        return await self._tasks.run(turn.run)

    @asynccontextmanager
    async def stream(
        self,
        turn_id: str,
        approve: Sequence[str],
        deny: Sequence[str],
        approvals: ApprovalMode | None,
    ) -> AsyncIterator[TurnStream]:
        """Resume a turn and watch it; see `vanta.Runtime.resume_stream`."""
        begin = partial(self._begin, turn_id, approve, deny, approvals)
        async with streamed(self._tasks, self._observe, begin) as turn:
            yield turn

    async def _begin(
        self,
        turn_id: str,
        approve: Sequence[str],
        deny: Sequence[str],
        approvals: ApprovalMode | None,
        emit: Observer,
    ) -> Turn:
        """Claim a turn, record what its caller decides, and make it ready to run."""
        self._tasks.home.require()
        parked = await self.turns.claim(turn_id)
        try:
            with internal_errors("the turn could not be resumed"):
                for key in approve:
                    await self.turns.approve(key)
                for key in deny:
                    await self.turns.deny(key)
                state = TurnState.from_json(parked.state)
                options = TurnOptions(approvals=approvals).over(state.options)
                conversation: Conversation = self._conversations.get(parked.user, parked.session)
                started_at = anyio.current_time()
                until = started_at + self._planner.deadline_s(options)
                with store_waits_until(until):
                    await conversation.refresh(self._store, for_turn=True)
                    if state.replaces:
                        fork = conversation.forked(self._store, state.replaces, state.message)
                        conversation = await fork
                await self._planner.refresh(until)
                settings = self._planner.settings(
                    state.message.content,
                    parked.user,
                    options,
                    private=conversation.private,
                    private_because=None,
                    prompt=None,
                )
            settings = dataclasses.replace(
                settings,
                system=state.system,
                common_system=state.common_system,
                private_because=state.private_because,
            )
            return Turn(conversation, state.message, settings, emit, started_at, (state, parked))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.turns.release(turn_id)
            raise
