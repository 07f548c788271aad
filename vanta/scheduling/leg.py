"""A leg: one attempt of one track in one turn, and the record of it.

A leg runs its engine and reports to its owner by plain calls, since all of a turn runs on one
event loop. Invariant: it reports every delta in order and then its end, exactly once, unless the
whole turn was cancelled; what an engine raises ends up in `error`, never further.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from vanta.engine import DeltaStream, GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.events import LegTrace
from vanta.messages import Completion, Delta, Fold, Usage
from vanta.scheduling.gate import Verdict
from vanta.scheduling.policy import LegPlan
from vanta.track import Track

Prepare = Callable[[Track], Awaitable[GenerationRequest]]
Shorten = Callable[[Track, EngineError], Awaitable[GenerationRequest]]


class LegOwner(Protocol):
    """Who hears of a leg's progress, and who pays for it (nobody where `purse` is None)."""

    purse: Purse | None

    def now(self) -> float:
        """Seconds since the turn began."""
        ...

    def on_delta(self, leg: Leg, delta: Delta) -> None:
        """The leg has one more delta; it is already folded."""
        ...

    def on_end(self, leg: Leg) -> None:
        """The leg stands still; `error`, `verdict` and `stopped` say how it ended."""
        ...

    async def judge(self, leg: Leg) -> Verdict:
        """The gate's word on the leg's finished answer."""
        ...


class Leg:
    """One attempt: its task's body, what it has produced, and how it went."""

    def __init__(
        self, number: int, plan: LegPlan, track: Track, why: str, owner: LegOwner, *, resumes: bool
    ) -> None:
        self.number = number
        self.plan = plan
        self.track = track
        self.why = why
        self.resumes = resumes
        self.fold = Fold()
        self.pending: list[str] = []
        self.deltas = 0
        self.has_content = False
        self.generated = False
        self.finished = False
        self.ended = False
        self.error: EngineError | None = None
        self.verdict: Verdict | None = None
        self.state = "running"
        self.started_s = owner.now()
        self.first_content_s: float | None = None
        self.last_delta_s: float | None = None
        self.excused_s: float | None = None
        self.committed_s: float | None = None
        self.stop_asked_s: float | None = None
        self.ended_s: float | None = None
        self._owner = owner
        self._scope = anyio.CancelScope()
        self._stream: DeltaStream | None = None
        self._billed: Usage | None = None

    @property
    def answerable(self) -> bool:
        """True while the leg may still answer: it runs, or has finished and is held back."""
        return self.state == "running" and not self.stopped

    @property
    def stopped(self) -> bool:
        """True once somebody asked the leg to stop."""
        return self.stop_asked_s is not None

    @property
    def silent_s(self) -> float | None:
        """Seconds before the first content, or until the leg was stopped without any; None for a
        leg that failed."""
        until = self.first_content_s or self.stop_asked_s
        return None if until is None or self.error else until - self.started_s

    @property
    def listening_since_s(self) -> float | None:
        """Since when the leg could have said more and did not; None before its first delta."""
        return self.excused_s or self.last_delta_s

    def excuse(self) -> bool:
        """Count the leg's silence anew from now, because nobody could hear it; once a silence,
        False where it has been excused already."""
        if self.excused_s is not None:
            return False
        self.excused_s = self._owner.now()
        return True

    def stop(self) -> None:
        """Ask the leg to stop; its end confirms it. Harmless once it has ended."""
        if self.ended or self.stopped:
            return
        self.stop_asked_s = self._owner.now()
        self._scope.cancel()

    async def run(self, prepare: Prepare, shorten: Shorten | None = None) -> None:
        """Generate until the end, an error or a stop. Raises only the turn's cancellation.

        shorten: the request again, shorter, once the engine has refused it as too long; it may be
        asked once.
        """
        try:
            with self._scope:
                await self._generate(prepare, shorten)
                self.generated = True
                if self.plan.commit_on == "verdict" and not self.resumes:
                    self.verdict = await self._owner.judge(self)
                self.finished = True
        except EngineError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - an engine's bug must not take the turn down
            self._fail(self._broke_contract(error))
        finally:
            self.ended = True
            self.ended_s = self._owner.now()
        self._owner.on_end(self)

    async def _generate(self, prepare: Prepare, shorten: Shorten | None) -> None:
        request = await prepare(self.track)
        try:
            await self._ask(request)
        except EngineError as error:
            too_long = error.kind is ErrorKind.CONTEXT_OVERFLOW and not self.deltas
            if shorten is None or not too_long:
                raise
            await self._ask(await shorten(self.track, error))
        if not (self.has_content or self.resumes or self.fold.completion().tool_calls):
            raise self._empty_answer()

    async def _ask(self, request: GenerationRequest) -> None:
        purse = self._owner.purse
        paid = await purse.open_leg(self.track, request) if purse else None
        if paid is None:
            await self._listen(request)
        else:
            await self._listen_for_money(paid)

    async def _listen(self, request: GenerationRequest) -> None:
        async with self.track.engine.stream(request) as stream:
            self._stream = stream
            async for delta in stream:
                self._take(delta)

    async def _listen_for_money(self, paid: PaidLeg) -> None:
        failure: EngineError | None = None
        try:
            await self._listen(paid.request)
        except EngineError as error:
            failure = error
            raise
        finally:
            with anyio.CancelScope(shield=True):
                self._billed = await paid.close(self.usage, self.fold.completion(), failure)

    def _take(self, delta: Delta) -> None:
        self.fold.add(delta)
        self.deltas += 1
        self.last_delta_s = self._owner.now()
        self.excused_s = None
        if delta.has_content and not self.has_content:
            self.has_content = True
            self.first_content_s = self.last_delta_s
        self._owner.on_delta(self, delta)

    def _fail(self, error: EngineError) -> None:
        if self.error is None and not self.stopped:
            error.track = self.track.name
            self.error = error

    def fail(self, error: EngineError) -> None:
        """Give the leg up for a reason of the scheduler's (a stall), and stop it."""
        self._fail(error)
        self.stop()

    def error_of(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        """An EngineError that names this leg's engine, model and track."""
        engine = self.track.engine
        error = EngineError(
            kind, message, engine=engine.name, model=engine.model, suggestion=suggestion
        )
        error.track = self.track.name
        return error

    def _empty_answer(self) -> EngineError:
        if self.fold.completion().finish_reason == "length":
            return self.error_of(
                ErrorKind.SERVER,
                "the token limit was reached before any readable text",
                "Raise max_tokens, or turn the model's reasoning down.",
            )
        return self.error_of(ErrorKind.SERVER, "the answer ended without any readable text")

    def _broke_contract(self, cause: Exception) -> EngineError:
        error = self.error_of(
            ErrorKind.SERVER,
            f"the engine raised {type(cause).__name__} instead of an EngineError: {cause}",
            "This is a bug in the engine's plugin; report it there.",
        )
        error.__cause__ = cause
        return error

    @property
    def usage(self) -> Usage | None:
        """Everything the leg produced: what was billed, else the engine's own count, else its
        receipt's."""
        reported = self._billed or self.fold.completion().usage
        receipt = self._stream.receipt if self._stream else None
        if reported or receipt is None:
            return reported
        return Usage(receipt.input_tokens, receipt.output_tokens, exact=receipt.exact)

    def trace(self) -> LegTrace:
        """The leg's record, as it stands."""
        receipt = self._stream.receipt if self._stream else None
        usage = self.usage
        after_stop = receipt.tokens_after_stop if receipt else 0
        price = self.track.price
        return LegTrace(
            leg=self.number,
            track=self.track.name,
            engine=self.track.engine.name,
            model=self.fold.completion().model or self.track.engine.model,
            state=self.state,
            why=self.why,
            started_s=self.started_s,
            first_content_s=self.first_content_s,
            committed_s=self.committed_s,
            stop_asked_s=self.stop_asked_s,
            ended_s=self.ended_s,
            usage=usage,
            cost_usd=price.of(usage),
            cpu_s=receipt.cpu_s if receipt else 0.0,
            tokens_after_stop=after_stop,
            cpu_after_stop_s=receipt.cpu_after_stop_s if receipt else 0.0,
            cost_after_stop_usd=price.of_tokens(0, after_stop),
            verdict=self.verdict.why if self.verdict else None,
            accepted=self.verdict.accepted if self.verdict else None,
            score=self.verdict.score if self.verdict else None,
            error=self.error.to_dict() if self.error else None,
        )


class PaidLeg(Protocol):
    """A leg that money was set aside for."""

    @property
    def request(self) -> GenerationRequest:
        """What to send: the request, its answer bounded where the budget needs that."""
        ...

    async def close(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        """Settle a leg that stands still.

        usage: what the engine told, None if nothing. seen: the answer as far as it came. failure:
        what the engine raised. Returns the usage that was billed. Never raises.
        """
        ...


class Purse(Protocol):
    """Pays for the legs of one turn."""

    async def open_leg(self, track: Track, request: GenerationRequest) -> PaidLeg | None:
        """Set aside what the leg can cost at the most; None for a track without a price.

        Raises EngineError (`budget`), which fails this leg alone: another track may answer.
        """
        ...


BACKOFF_S = 0.5
"""The longest wait before the first retry, in seconds."""


def too_late(track: Track, deadline_s: float) -> EngineError:
    """The error of a track that had no chance to answer before the turn's deadline."""
    error = EngineError(
        ErrorKind.TIMEOUT,
        f"the turn's deadline of {deadline_s:g} s passed before it could answer",
        engine=track.engine.name,
        model=track.engine.model,
        suggestion="Raise deadline_s, or choose a policy with a faster track.",
    )
    error.track = track.name
    return error


def retry_too_late(track: Track, wait_s: float) -> EngineError:
    """The error of a track whose server asked to wait for longer than the turn may take."""
    error = EngineError(
        ErrorKind.RATE_LIMITED,
        f"the server asked to wait for another {wait_s:.1f} s, longer than the turn may take",
        engine=track.engine.name,
        model=track.engine.model,
        suggestion="Ask again then, or choose a policy with another track.",
        retry_after_s=wait_s,
    )
    error.track = track.name
    return error


def rejected_answer(leg: Leg) -> EngineError:
    """The error of a leg whose answer the gate did not want."""
    why = leg.verdict.why if leg.verdict else "no verdict"
    return leg.error_of(ErrorKind.SERVER, f"the gate turned its answer down: {why}")


def stalled(leg: Leg, limit_s: float) -> EngineError:
    """The error of a leg that fell silent in the middle of its answer."""
    return leg.error_of(
        ErrorKind.TIMEOUT,
        f"silent for {limit_s:g} s in the middle of its answer",
        "Raise stall_timeout_s if the server is only slow.",
    )


def backoff_s(error: EngineError | None, attempt: int) -> float:
    """Seconds before the next attempt: what the server asked, else doubling with full jitter
    (Brooker, "Exponential Backoff And Jitter", 2015)."""
    if error and error.retry_after_s:
        return error.retry_after_s
    return random.uniform(0.0, BACKOFF_S * 2 ** (attempt - 1))  # noqa: S311 - no secret
