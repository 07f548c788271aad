"""A turn: one message and its reply, from the session's queue to the stored exchange.

Order: wait for the session's earlier turns, start the recall and read the history, run the rounds
(race the legs, run the calls of the winner, race again), store the exchange, emit `TurnFinished`.
Invariants: the exchange is durable before `TurnFinished`; a turn that fails or is cancelled leaves
the history as it was. Every turn that emits `TurnStarted` emits exactly one final event and, if the
store works, leaves one record, whatever breaks.

Private text is shown only in a turn whose tracks are all private, since a reply repeats what its
track was shown, and another track may continue or judge it; a turn in which it was shown is private
itself.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import anyio

from vanta.context.preparer import ContextPreparer
from vanta.errors import AllTracksFailed, StoreError, describe, internal_errors
from vanta.events import Event, TurnFailed, TurnFinished, TurnResumed, TurnStarted
from vanta.memory import Question, Scope, TurnRecall
from vanta.messages import Exchange, Message
from vanta.money import TurnPurse
from vanta.runtime.conversations import Conversation, PassingConversation
from vanta.runtime.turns.agency import TurnTools
from vanta.runtime.turns.caller_tools import ids_of
from vanta.runtime.turns.eligibility import eligible_tracks, no_track
from vanta.runtime.turns.parked_turn import (
    TurnState,
    no_tools_to_resume,
    questions_of,
    release,
    state_of,
)
from vanta.runtime.turns.records import reply_of, row_of
from vanta.runtime.turns.rounds import DeadlineClock, Rounds
from vanta.runtime.turns.turn_settings import TurnSettings
from vanta.runtime.turns.typed import OutputForm
from vanta.scheduling.leg_errors import too_late
from vanta.scheduling.race_plan import RaceOutcome, RacePlan
from vanta.storage import store_waits_until
from vanta.tools import Caller, CallRunner, ParkedTurn
from vanta.tools.recall import ToolNeed, recent_calls
from vanta.trace import Reply, Trace
from vanta.track import Track

SHOWN_PRIVATE = "a track was shown text from an earlier private turn"
"""Why a turn is private if neither its caller nor a detector made it so."""

_log = logging.getLogger("vanta")
_NOT_RESUMED: tuple[TurnState | None, ParkedTurn | None] = (None, None)
_NO_RACE = RaceOutcome("", None, None, None, ())


class Turn:
    """One turn of a conversation.

    :param conversation: the conversation that it is part of.
    :param message: the user's message.
    :param settings: what it runs under.
    :param emit: called with each event.
    :param started_at: when its clock started, in seconds on the event loop's clock.
    :param resumed: where it was parked, and the turn as the store has it; None if it begins.
    :param following: what stands after the message already: calls and their results.
    :ivar questions: who is asked about its calls, and what is open.
    """

    def __init__(
        self,
        conversation: Conversation,
        message: Message,
        settings: TurnSettings,
        emit: Callable[[Event], None],
        started_at: float,
        resumed: tuple[TurnState, ParkedTurn] | None = None,
        *,
        following: Sequence[Message] = (),
    ) -> None:
        self._resumed, parked = resumed or _NOT_RESUMED
        self.id = parked.turn if parked else uuid.uuid4().hex
        self._conversation = conversation
        self._message = message
        self._following = tuple(following)
        self._settings = settings
        self._race = settings.race
        self._emit = emit
        self._started_at = started_at
        self._preparer: ContextPreparer | None = None
        self._recall: TurnRecall | None = None
        self._skipped: Mapping[str, str] = {}
        self._clock = DeadlineClock(started_at, settings.race.deadline_s)
        self.questions = questions_of(self.id, settings, conversation, self._state, parked)
        self._rounds: Rounds | None = None
        self._runner: CallRunner | None = None
        self._stranded: Exchange | None = None
        self._recorded = False
        self._store_failed = False
        self._ended = False

    @property
    def form(self) -> OutputForm | None:
        """The type of the answer; None for an answer in words."""
        return self._settings.form

    async def run(self) -> Reply:
        """Answer the message.

        :raises AllTracksFailed: if no track could answer in time.
        :raises NoTrack: if no track may take part.
        :raises StoreError: if the transcript cannot be read or written; the deltas of a reply may
            have been emitted by then.
        :raises InternalError: for a fault of vanta or of a plugin.
        """
        with internal_errors("the turn could not begin"):
            allowed, self._skipped = eligible_tracks(self._settings, self._message)
        self._emit_started()
        try:
            with internal_errors(f"turn {self.id!r} broke"), store_waits_until(self._ends_at):
                return await self._take_turn(allowed)
        except BaseException as error:
            await self._close_unanswered("failed" if isinstance(error, Exception) else "cancelled")
            raise

    async def _take_turn(self, allowed: Mapping[str, Track]) -> Reply:
        if not allowed:
            raise no_track(self._settings, self._skipped, self._message)
        await self._take_place(allowed)
        try:
            return await self._answer(allowed)
        finally:
            if self._recall:
                self._recall.close()
            self._conversation.lock.release()

    async def _take_place(self, allowed: Mapping[str, Track]) -> None:
        """Wait for the session's earlier turns, at most until the deadline."""
        deadline_s, conversation = self._race.deadline_s, self._conversation
        waits = conversation.lock.locked()
        with anyio.move_on_at(self._started_at + deadline_s):
            await conversation.lock.acquire()
            if waits:
                await self._refresh()
            return
        raise AllTracksFailed([too_late(track, deadline_s) for track in allowed.values()])

    async def _refresh(self) -> None:
        """Read again what was removed from the store while the turn waited for its place."""
        try:
            await self._conversation.refresh(self._settings.store)
        except BaseException:
            self._conversation.lock.release()
            raise

    async def _answer(self, allowed: Mapping[str, Track]) -> Reply:
        tools = self._settings.tools
        self._runner = None if tools is None else await self._call_runner(tools)
        if self._resumed and self._runner is None:
            raise no_tools_to_resume(self.id)
        plan = await self._plan(allowed)
        assert self._preparer is not None  # noqa: S101 - the plan has one
        self._preparer.add_round(self._following)
        history = (message for item in await self._history() for message in item.messages)
        self._rounds = Rounds(
            plan,
            self._emit,
            self._preparer,
            self._runner,
            self._settings.rounds if tools is None else tools.rounds,
            self._clock,
            self._resumed.rounds if self._resumed else None,
            own=self._settings.own_tools,
            used_ids=ids_of((*history, *self._following)),
        )
        if self._runner is None:
            return await self._conclude(await self._rounds.run())
        async with self._runner.open():
            outcome = await self._rounds.run()
        return await self._conclude(outcome)

    async def _call_runner(self, tools: TurnTools) -> CallRunner | None:
        """Return what runs the turn's calls; None if it has no tools."""
        conversation = self._conversation
        caller = Caller(conversation.user, conversation.session, self.id)
        past = [*await self._history(), Exchange(self._following)]
        answered = partial(conversation.answered, self._settings.store)
        stranded = await tools.stranded_calls(caller, past, answered, private=self._secluded)
        self._stranded, withheld = stranded.exchange, stranded.withheld
        visible = await self._visible_history()
        need = ToolNeed(
            self._message.content,
            f"{conversation.user}\0{conversation.session}",
            recent_calls(visible),
            lambda: self._secluded or self._is_private(),
        )
        runner = await tools.runner(
            caller,
            self._clock,
            self._is_private,
            self._emit,
            need,
            self.questions,
            past=[*visible, Exchange(self._following)],
            own=self._settings.own_tools.tools,
            withheld=withheld,
        )
        if runner is not None and self._resumed:
            runner.restore(self._resumed.calls)
        return runner

    def _state(self) -> TurnState:
        """Return what the turn is resumed from, if it ends while a person is asked."""
        rounds, runner = self._rounds, self._runner
        assert rounds is not None and rounds.state is not None  # noqa: S101, PT018 - it has calls
        assert runner is not None  # noqa: S101 - only a turn with tools asks
        return state_of(
            self._settings,
            self._message,
            self._trace(replace(_NO_RACE, legs=rounds.legs), "parked"),
            rounds.state,
            runner.state(),
            private=self._is_private(),
            left_s=self._ends_at - anyio.current_time(),
            replaces=self._conversation.replaces,
        )

    async def _plan(self, allowed: Mapping[str, Track]) -> RacePlan:
        settings = self._settings
        self._recall = self._begin_recall()
        self._preparer = ContextPreparer(
            system=settings.system,
            history=await self._visible_history(),
            message=self._message,
            sampling=self._race.sampling,
            user=self._conversation.user,
            session=self._conversation.cache_key,
            prompts=settings.prompts,
            recall=self._recall,
            shares=settings.shares,
            min_relevance=settings.recall.min_relevance,
            common_system=settings.common_system,
            schema=self.form.schema if self.form else None,
            is_private=self._is_private,
            chooser=self._runner.recall if self._runner else None,
        )
        waits = self._race.track_stats.waits_s(allowed, anyio.current_time())
        return RacePlan(
            settings=self._race,
            tracks=allowed,
            preparer=self._preparer,
            started_at=self._started_at,
            skipped=self._skipped,
            earliest_s={name: self._now() + wait_s for name, wait_s in waits.items()},
            question=self._message.content,
            purse=self._purse(),
            is_private=self._is_private,
        )

    def _begin_recall(self) -> TurnRecall | None:
        """Start to search memory, while the history is read and engines load."""
        settings, conversation = self._settings, self._conversation
        if settings.memory is None or not settings.recall.share:
            return None
        if self._message.images and not self._message.content.strip():
            return None  # memories are found by words
        session = conversation.session if settings.recall.scope == "session" else None
        question = Question(
            self._message.content,
            Scope(conversation.user, session, private=self._secluded),
            session=conversation.session,
            confidential=settings.private,
            without=conversation.without,
        )
        timeout_s = settings.recall_timeout_s
        pending = settings.memory.begin_recall(question, timeout_s)
        return TurnRecall(pending, self._emit, self._now)

    def _purse(self) -> TurnPurse:
        conversation = self._conversation
        return TurnPurse(
            ledger=self._settings.ledger,
            user=conversation.user,
            session=conversation.session,
            turn=self.id,
            deadline_s=self._race.deadline_s,
            own_caps=self._settings.own_caps,
        )

    async def _history(self) -> list[Exchange]:
        return await self._conversation.load(self._settings.store)

    async def _visible_history(self) -> list[Exchange]:
        history = await self._history()
        if self._stranded:
            history = [*history, self._stranded]
        if self._secluded:
            return history
        return [exchange for exchange in history if not exchange.private]

    @property
    def _secluded(self) -> bool:
        """Whether nothing of this turn can reach a track that is not private."""
        tracks = (self._settings.tracks.get(name) for name in self._race.policy.tracks)
        return self._settings.private or all(track.private for track in tracks if track)

    def _is_private(self) -> bool:
        """Whether the turn is private, or may become so by what a track is shown."""
        if self._settings.private:
            return True
        if self._holds_private_calls:
            return True
        recalled = self._recall.private_ids if self._recall else frozenset()
        history = self._conversation.history or ()
        return self._secluded and (bool(recalled) or any(item.private for item in history))

    @property
    def _holds_private_calls(self) -> bool:
        """Whether a call of this turn or of one that was cut off has private text."""
        if self._stranded is not None and self._stranded.private:
            return True
        return self._runner is not None and self._runner.saw_private

    @property
    def _was_shown_private(self) -> bool:
        """Whether a track was shown private text."""
        if self._holds_private_calls:
            return True
        if not self._secluded or self._preparer is None:
            return False
        if any(exchange.private for exchange in self._conversation.history or ()):
            return True
        private = self._recall.private_ids if self._recall else frozenset()
        return not all(private.isdisjoint(ids) for ids in self._preparer.shown_ids.values())

    async def _conclude(self, outcome: RaceOutcome) -> Reply:
        trace = self._trace(outcome, "answered")
        reply = self._reply(outcome, trace)
        assert self._rounds is not None  # noqa: S101 - only called after the rounds
        before = self._stranded.messages if self._stranded else ()
        asked = (*before, self._message, *self._following)
        exchange = Exchange((*asked, *self._rounds.transcript), trace.private, self.id)
        keeps = self._settings.keeps and not self._rounds.returned
        await self._record(trace, reply, exchange if keeps else None)
        if keeps:
            self._conversation.add(exchange)
        self._ended = True
        self._emit(TurnFinished(at_s=self._now(), reply=reply))
        if self._settings.memory:
            self._settings.memory.nudge()
        return reply

    async def _close_unanswered(self, status: str) -> None:
        """Record a turn that failed or was cancelled, if the store still works, and report it."""
        if self._ended:
            return
        if self.questions.is_parked:
            status, self._recorded = "parked", self._recorded or self._resumed is not None
            await release(self.questions)
        legs = self._rounds.legs if self._rounds else ()
        for leg in legs:
            leg.state = "cancelled" if leg.state == "running" else leg.state
        trace = self._trace(replace(_NO_RACE, legs=legs), status)
        with anyio.CancelScope(shield=True), store_waits_until(self._ends_at):
            try:
                await self._record(trace)
            except Exception as error:  # noqa: BLE001 - the turn's own error is the one to raise
                _log.warning("turn %r has no record: %s", self.id, describe(error))
        if self._store_failed:  # what it reported as failed may have reached the disk
            self._conversation.drop_history()
        self._ended = True
        self._emit(TurnFailed(at_s=self._now(), trace=trace))

    async def _record(
        self, trace: Trace, reply: Reply | None = None, exchange: Exchange | None = None
    ) -> None:
        """Store the turn's record once, and its exchange in the same transaction."""
        if self._recorded:
            return
        if self._store_failed and anyio.current_time() >= self._ends_at:
            raise StoreError("the store failed before, and the turn's deadline has passed")
        row = row_of(self._conversation, trace, reply)
        try:
            with store_waits_until(self._ends_at, moved=True):  # by a person's answer
                await self._settings.store.add(
                    row, trace.to_dict(), exchange, self._conversation.place
                )
        except StoreError:
            self._store_failed = True
            raise
        self._recorded = True

    def _trace(self, outcome: RaceOutcome, status: str) -> Trace:
        settings, shown_private = self._settings, self._was_shown_private
        earlier = self._resumed.trace.legs if self._resumed else ()
        because = settings.private_because or (SHOWN_PRIVATE if shown_private else None)
        return Trace(
            turn_id=self.id,
            session_id=self._conversation.session,
            policy=self._race.policy.name,
            private=settings.private or shown_private,
            private_because=because,
            deadline_s=self._race.deadline_s,
            duration_s=self._now(),
            status=status,
            skipped=self._skipped,
            context=self._preparer.traces if self._preparer else {},
            recall=self._recall.trace if self._recall else None,
            legs=(*earlier, *(leg.trace() for leg in outcome.legs)),
            rounds=max(1, self._rounds.count) if self._rounds else 1,
            calls=self._runner.traces if self._runner else (),
            limit=self._rounds.limit if self._rounds else "",
        )

    def _reply(self, outcome: RaceOutcome, trace: Trace) -> Reply:
        assert self._rounds is not None  # noqa: S101 - only called for an answered turn
        acts = self._settings.has_tools or isinstance(self._conversation, PassingConversation)
        before = self._stranded.messages if self._stranded else ()
        return reply_of(outcome, trace, self._rounds, before, acts=acts)

    def _emit_started(self) -> None:
        self._emit(
            TurnStarted(
                at_s=0.0,
                turn_id=self.id,
                session_id=self._conversation.session,
                policy=self._race.policy.name,
                deadline_s=self._race.deadline_s,
                skipped=self._skipped,
            )
        )
        if self._resumed:
            stand = self._resumed.rounds
            private, number = self._resumed.private, stand.rounds - 1
            self._emit(TurnResumed(at_s=0.0, text=stand.shown, round=number, private=private))

    @property
    def _ends_at(self) -> float:
        return self._clock.ends_at

    def _now(self) -> float:
        return self._clock.now()
