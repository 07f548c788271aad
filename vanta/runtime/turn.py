"""A turn: one message and its reply, from the session's queue to the stored exchange.

Order: wait for the session, ask memory and read the history, race the legs, store the exchange, say
`TurnFinished`. Invariant: the exchange is durable before `TurnFinished`; a turn that fails or is
cancelled leaves the history as it was, and a record of itself. What was said in private is shown
only in a turn whose tracks are all private, for a reply repeats what it was shown, and another
track may go on with it or judge it; a turn in which it was shown is itself private.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import anyio

from vanta.config import MemoryConfig
from vanta.context.assembly import Exchange
from vanta.context.budget import BudgetShares
from vanta.context.memories import MemorySource
from vanta.context.preparer import ContextPreparer
from vanta.engine import Sampling
from vanta.errors import AllTracksFailed, NoTrack, StoreError
from vanta.events import Event, Reply, Timings, Trace, TurnFailed, TurnFinished, TurnStarted
from vanta.memory.items import Scope
from vanta.memory.memory import Memory, Question
from vanta.memory.turn_recall import TurnRecall
from vanta.messages import Message, Usage
from vanta.money import Ledger, TurnPurse
from vanta.scheduling.gate import Gate
from vanta.scheduling.leg import Leg
from vanta.scheduling.policy import Policy
from vanta.scheduling.race import Race, RaceOutcome, RacePlan, too_late
from vanta.scheduling.track_stats import TrackStats
from vanta.storage.transcripts import Store
from vanta.track import Track

Emit = Callable[[Event], None]

SHOWN = "what was said in private before was shown to its track"
"""Why a turn is private that nobody asked to be."""


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What a turn runs under; times in seconds."""

    policy: Policy
    gate: Gate
    private: bool
    private_because: str | None
    deadline_s: float
    stall_timeout_s: float
    sampling: Sampling
    tracks: Mapping[str, Track]
    off: Mapping[str, str]
    system: str
    ask_to_continue: Callable[[str], str]
    ask_to_verify: Callable[[str, str], str]
    experience: TrackStats
    hard: bool | None
    retries: int
    ledger: Ledger
    memory: Memory | None
    recalls: MemoryConfig
    write_memories: Callable[[str, str], str]


@dataclass(slots=True, weakref_slot=True, eq=False)
class Conversation:
    """What a session keeps between turns. history is None until it was read from the store."""

    user: str
    session: str
    history: list[Exchange] | None = None
    lock: anyio.Lock = dataclasses.field(default_factory=anyio.Lock)


class Turn:
    """One turn of a conversation. `emit` is called with each event."""

    def __init__(
        self,
        conversation: Conversation,
        text: str,
        settings: TurnSettings,
        store: Store,
        emit: Emit,
    ) -> None:
        self.id = uuid.uuid4().hex
        self._conversation = conversation
        self._message = Message("user", text)
        self._settings = settings
        self._store = store
        self._emit = emit
        self._started_at = anyio.current_time()
        self._preparer: ContextPreparer | None = None
        self._recall: TurnRecall | None = None

    async def run(self) -> Reply:
        """Answer the message.

        Raises AllTracksFailed, NoTrack, or StoreError if the transcript cannot be read or written;
        a StoreError after the text was shown still leaves the caller with all of its deltas.
        """
        allowed, skipped = self._eligible()
        self._say_started(skipped)
        if not allowed:
            self._say_failed(self._trace(_NOTHING, skipped, "failed"))
            raise NoTrack(self._settings.policy.name, skipped)
        await self._take_place(allowed, skipped)
        try:
            return await self._answer(allowed, skipped)
        finally:
            if self._recall:
                self._recall.close()
            self._conversation.lock.release()

    async def _take_place(self, allowed: Mapping[str, Track], skipped: Mapping[str, str]) -> None:
        """Wait for the session's earlier turns; the wait is part of this turn's time."""
        deadline_s = self._settings.deadline_s
        with anyio.move_on_after(deadline_s):
            await self._conversation.lock.acquire()
            return
        self._say_failed(self._trace(_NOTHING, skipped, "failed"))
        raise AllTracksFailed([too_late(track, deadline_s) for track in allowed.values()])

    async def _answer(self, allowed: Mapping[str, Track], skipped: Mapping[str, str]) -> Reply:
        race = Race(await self._plan(allowed, skipped), self._emit)
        try:
            outcome = await race.run()
        except BaseException:
            await self._record_abandoned(race.legs, skipped)
            raise
        return await self._conclude(outcome, skipped)

    def _eligible(self) -> tuple[dict[str, Track], dict[str, str]]:
        """The tracks of the policy that may take part, and why the others may not."""
        allowed: dict[str, Track] = {}
        skipped: dict[str, str] = {}
        for name in self._settings.policy.tracks:
            track = self._settings.tracks.get(name)
            if track is None:
                why = self._settings.off.get(name, "no track of this name is configured")
                skipped[name] = why
            elif self._settings.private and not track.private:
                skipped[name] = "the turn is private and this track is not"
            else:
                allowed[name] = track
        return self._healthy(allowed, skipped), skipped

    def _healthy(self, allowed: dict[str, Track], skipped: dict[str, str]) -> dict[str, Track]:
        """`allowed` without the tracks that had better rest, unless none would be left."""
        resting = self._settings.experience.refusals(allowed, anyio.current_time())
        if len(resting) == len(allowed):
            return allowed
        skipped.update(resting)
        return {name: track for name, track in allowed.items() if name not in resting}

    async def _plan(self, allowed: Mapping[str, Track], skipped: Mapping[str, str]) -> RacePlan:
        settings = self._settings
        self._recall = self._begin_recall()
        self._preparer = ContextPreparer(
            system=settings.system,
            history=await self._visible_history(),
            message=self._message,
            sampling=settings.sampling,
            session=f"{self._conversation.user}/{self._conversation.session}",
            ask_to_continue=settings.ask_to_continue,
            ask_to_verify=settings.ask_to_verify,
            memory=self._memories(),
        )
        now = anyio.current_time()
        waits = settings.experience.waits_s(allowed, now)
        return RacePlan(
            policy=settings.policy,
            tracks=allowed,
            skipped=skipped,
            preparer=self._preparer,
            started_at=self._started_at,
            deadline_s=settings.deadline_s,
            stall_timeout_s=settings.stall_timeout_s,
            gate=settings.gate,
            hard=settings.hard,
            may_hedge=settings.experience.may_hedge(settings.policy),
            retries=settings.retries,
            earliest_s={name: self._now() + wait_s for name, wait_s in waits.items()},
            experience=settings.experience,
            question=self._message.content,
            json_schema=settings.sampling.json_schema,
            purse=self._purse(),
        )

    def _begin_recall(self) -> TurnRecall | None:
        """Ask memory what it knows, while everything else gets ready."""
        memory, rules = self._settings.memory, self._settings.recalls
        if memory is None or not rules.share:
            return None
        conversation = self._conversation
        question = Question(
            self._message.content,
            Scope(
                conversation.user,
                conversation.session if rules.scope == "session" else None,
                private=self._secluded,
            ),
            session=conversation.session,
            confidential=self._settings.private,
        )
        return TurnRecall(memory, question, rules.recall_timeout_s, self._emit, self._now)

    def _memories(self) -> MemorySource | None:
        settings = self._settings
        if self._recall is None:
            return None
        shares = BudgetShares(memory=settings.recalls.share)
        session = self._conversation.session
        return MemorySource(self._recall, settings.write_memories, session, shares)

    def _purse(self) -> TurnPurse:
        conversation, settings = self._conversation, self._settings
        return TurnPurse(
            ledger=settings.ledger,
            user=conversation.user,
            session=conversation.session,
            turn=self.id,
            deadline_s=settings.deadline_s,
        )

    async def _history(self) -> list[Exchange]:
        conversation = self._conversation
        if conversation.history is None:
            conversation.history = await self._store.history(
                conversation.user, conversation.session
            )
        return conversation.history

    async def _visible_history(self) -> list[Exchange]:
        history = await self._history()
        if self._secluded:
            return history
        return [exchange for exchange in history if not exchange.private]

    @property
    def _secluded(self) -> bool:
        """Whether nothing of this turn can reach a track that is not private."""
        tracks = (self._settings.tracks.get(name) for name in self._settings.policy.tracks)
        return self._settings.private or all(track.private for track in tracks if track)

    @property
    def _saw_private(self) -> bool:
        """Whether a track was shown what was said in private."""
        if not self._secluded or self._preparer is None:
            return False
        ids = self._recall.private_ids if self._recall else frozenset()
        shown = (one["id"] for told in self._preparer.report.values() for one in told["memories"])
        history = self._conversation.history or ()
        return any(exchange.private for exchange in history) or not ids.isdisjoint(shown)

    async def _conclude(self, outcome: RaceOutcome, skipped: Mapping[str, str]) -> Reply:
        status = "failed" if outcome.failure else "answered"
        trace = self._trace(outcome, skipped, status)
        if outcome.failure or outcome.leg is None:
            await self._store.add(self._row(trace, None), trace.to_dict(), None)
            self._say_failed(trace)
            raise outcome.failure or AssertionError("a race without a failure has a leg")
        reply = self._reply(outcome, trace)
        said = Message("assistant", reply.text)
        exchange = Exchange((self._message, said), trace.private, self.id)
        await self._store.add(self._row(trace, reply), trace.to_dict(), exchange)
        history = await self._history()
        history.append(exchange)
        if self._settings.memory:
            self._settings.memory.nudge()
        self._emit(TurnFinished(at_s=self._now(), reply=reply))
        return reply

    async def _record_abandoned(self, legs: tuple[Leg, ...], skipped: Mapping[str, str]) -> None:
        """The caller cancelled the turn: keep a record, if that can still be done."""
        for leg in legs:
            leg.state = "cancelled" if leg.state == "running" else leg.state
        outcome = RaceOutcome("", None, None, None, legs)
        trace = self._trace(outcome, skipped, "cancelled")
        with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
            await self._store.add(self._row(trace, None), trace.to_dict(), None)
        self._say_failed(trace)

    def _trace(self, outcome: RaceOutcome, skipped: Mapping[str, str], status: str) -> Trace:
        settings = self._settings
        return Trace(
            turn_id=self.id,
            session_id=self._conversation.session,
            policy=settings.policy.name,
            private=settings.private or self._saw_private,
            private_because=settings.private_because or (SHOWN if self._saw_private else None),
            deadline_s=settings.deadline_s,
            duration_s=self._now(),
            status=status,
            skipped=skipped,
            context=self._preparer.report if self._preparer else {},
            recall=self._recall.report if self._recall else None,
            legs=tuple(leg.trace() for leg in outcome.legs),
        )

    def _reply(self, outcome: RaceOutcome, trace: Trace) -> Reply:
        assert outcome.leg is not None  # noqa: S101 - only called for an answered turn
        answer = outcome.leg.fold.completion()
        return Reply(
            text=outcome.text,
            track=outcome.leg.track.name,
            model=answer.model or outcome.leg.track.engine.model,
            finish_reason=outcome.finish_reason,
            usage=_sum(leg.usage for leg in trace.legs if leg.state in ("won", "broken")),
            cost_usd=sum(leg.cost_usd for leg in trace.legs),
            timings=Timings(first_content_s=outcome.first_content_s, duration_s=trace.duration_s),
            trace=trace,
            reasoning=answer.reasoning,
            tool_calls=answer.tool_calls,
        )

    def _row(self, trace: Trace, reply: Reply | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "user": self._conversation.user,
            "session": self._conversation.session,
            "private": trace.private,
            "status": trace.status,
            "track": reply.track if reply else None,
            "cost_usd": sum(leg.cost_usd for leg in trace.legs),
        }

    def _say_started(self, skipped: Mapping[str, str]) -> None:
        self._emit(
            TurnStarted(
                at_s=0.0,
                turn_id=self.id,
                session_id=self._conversation.session,
                policy=self._settings.policy.name,
                deadline_s=self._settings.deadline_s,
                skipped=skipped,
            )
        )

    def _say_failed(self, trace: Trace) -> None:
        self._emit(TurnFailed(at_s=self._now(), trace=trace))

    def _now(self) -> float:
        return anyio.current_time() - self._started_at


_NOTHING = RaceOutcome("", None, None, None, ())


def _sum(usages: Any) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    return reduce(add, known) if known else None
