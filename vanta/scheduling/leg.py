"""A leg: one attempt of one track in one turn, and its record.

A leg runs its engine and reports to its owner by plain calls, because a whole turn runs on one
event loop. `Purse` is how the scheduler sees money; `vanta.money` implements it.

Invariant: a leg reports every delta in order and then its end, exactly once, unless the whole turn
was cancelled. An exception of the engine ends in `error` and goes no further. Every `open_leg`
that returned a leg is followed by its `close`, shielded from cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import anyio

from vanta.bounds import AnswerBound, Pace
from vanta.context.usage_check import OutputLimit, believed_usage, finite
from vanta.engine import DeltaStream, GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, Delta, Fold, Usage
from vanta.normalising import CallFilter, ReasoningFilter, quoted_calls, quoted_marks
from vanta.scheduling.gate import Verdict
from vanta.scheduling.leg_errors import broken_contract, empty_answer, missing_call
from vanta.scheduling.policy import LegPlan
from vanta.trace import LegTrace
from vanta.track import Track

LOOK_EVERY = 16
"""Deltas between two looks at the clock, for other tasks to run."""

EARLY_EXIT_EVERY = 8
"""Deltas between two checks of an unfinished answer by the gate; more as it becomes longer."""

MOST_FORMS = 3
"""How often a request is sent again in another form."""

Prepare = Callable[[Track], Awaitable[GenerationRequest]]
Shorten = Callable[[Track, EngineError], Awaitable[GenerationRequest]]

_NOTHING = Delta()
"""A delta whose text is held back: the leg is not silent, but shows nothing yet."""


class LegOwner(Protocol):
    """Receives the progress of a leg. `purse` pays for it; None if legs are not charged; `round`
    is the number of its round."""

    purse: Purse | None
    round: int

    def now(self) -> float:
        """Return the seconds since the turn began."""
        ...

    def on_delta(self, leg: Leg, delta: Delta) -> None:
        """Handle one more delta, which is folded already."""
        ...

    def scrub(self, leg: Leg) -> None:
        """Remove what the leg's error quotes of the conversation."""
        ...

    def on_end(self, leg: Leg) -> None:
        """Handle the end of the leg; see its `error`, `verdict` and `stopped`."""
        ...

    async def judge(self, leg: Leg) -> Verdict:
        """Return the gate's verdict on the leg's finished answer."""
        ...


class Leg:
    """One attempt: the body of its task, its output, and its result.

    :param number: number of the leg in its turn, from 0.
    :param plan: the leg's part in the policy.
    :param track: the track that answers.
    :param why: why the leg starts, for the trace.
    :param owner: the race that the leg reports to.
    :param resumes: True if the leg continues the text that was shown.
    :ivar has_content: whether it has a text that a user could read, or a complete tool call.
    """

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
        self.thoughts: list[str] = []
        self.deltas = 0
        self._check_at = EARLY_EXIT_EVERY
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
        self._believed: tuple[Usage, int, Usage] | None = None
        self.request: GenerationRequest | None = None

    @property
    def answerable(self) -> bool:
        """True while the leg may still answer: it runs, or its finished answer is held back."""
        return self.state == "running" and not self.stopped

    @property
    def judged(self) -> bool:
        """Whether a gate judges its answer before anything of it is shown."""
        return self.plan.commit_on == "verdict" and not self.resumes

    @property
    def stopped(self) -> bool:
        """True once the leg was requested to stop."""
        return self.stop_asked_s is not None

    @property
    def silent_s(self) -> float | None:
        """Seconds until the first content, or until a stop without any; None if the leg failed."""
        until = self.first_content_s or self.stop_asked_s
        return None if until is None or self.error else until - self.started_s

    @property
    def listening_since_s(self) -> float | None:
        """The time of the turn since which the leg is silent; None before its first delta."""
        return self.excused_s or self.last_delta_s

    @property
    def first(self) -> str:
        """What made it the first: its text, or its first complete tool call."""
        return "first content" if self.pending else "first complete tool call"

    def stalls_at_s(self, timeout_s: float) -> float:
        """Return the second of the turn at which the leg counts as stalled; infinity for never.

        :param timeout_s: seconds of silence that a leg may have after its first delta.
        """
        if self.generated or self.listening_since_s is None:
            return math.inf
        return self.listening_since_s + timeout_s

    def is_check_due(self) -> bool:
        """Return whether the gate should look at the unfinished answer once more.

        The checks become rarer as the answer grows, so that all of them together stay linear.
        """
        if self.deltas < self._check_at:
            return False
        self._check_at += max(EARLY_EXIT_EVERY, self.deltas // 8)
        return True

    def excuse(self) -> bool:
        """Restart the leg's silence, because the event loop was blocked and read no delta.

        Possible once per silence.

        :returns: False if this silence was excused already.
        """
        if self.excused_s is not None:
            return False
        self.excused_s = self._owner.now()
        return True

    def stop(self) -> None:
        """Request the leg to stop; its end confirms it. No-op if it has ended."""
        if self.ended or self.stopped:
            return
        self.stop_asked_s = self._owner.now()
        self._scope.cancel()

    async def run(self, prepare: Prepare, shorten: Shorten | None = None) -> None:
        """Generate until the end, an error or a stop. Raises only the turn's cancellation.

        :param prepare: builds the request.
        :param shorten: builds a shorter request after the engine refused the first one as too
            long; called at most once.
        """
        try:
            with self._scope:
                await self._generate(prepare, shorten)
                self.generated = True
                if self.judged:
                    self.verdict = await self._owner.judge(self)
                self.finished = True
        except EngineError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - an engine's bug must not take the turn down
            self._fail(broken_contract(self.track, error))
        finally:
            self.ended = True
            self.ended_s = self._owner.now()
            self._owner.scrub(self)
        self._owner.on_end(self)

    async def _generate(self, prepare: Prepare, shorten: Shorten | None) -> None:
        request = await prepare(self.track)
        try:
            await self._send(request)
        except EngineError as error:
            if self.deltas:
                raise
            if error.resend:
                await self._resend(request)
            elif shorten is not None and error.kind is ErrorKind.CONTEXT_OVERFLOW:
                await self._send(await shorten(self.track, error))
            else:
                raise
        answer = self.fold.completion()
        if self.request is not None and (missing := missing_call(self.track, self.request, answer)):
            raise missing
        if not (self.has_content or self.resumes or answer.tool_calls):
            raise empty_answer(self.track, answer)

    async def _resend(self, request: GenerationRequest) -> None:
        """Send a request again that its engine has learnt to write in another form."""
        for left in reversed(range(MOST_FORMS)):
            try:
                return await self._send(request)
            except EngineError as error:
                if self.deltas or not error.resend or not left:
                    raise
        return None

    async def _send(self, request: GenerationRequest) -> None:
        purse = self._owner.purse
        paid = await purse.open_leg(self.track, request) if purse else None
        if paid is None:
            await self._listen(request)
        else:
            await self._listen_paid(paid)

    async def _listen(self, request: GenerationRequest) -> None:
        self.request = request
        bound, pace = AnswerBound(request.sampling.max_tokens, self._window), Pace()
        limit = OutputLimit(request.sampling.max_tokens)
        content = AnswerFilter(request)
        async with self.track.engine.stream(request) as stream:
            self._stream = stream
            async for delta in stream:
                within = bound.cut(delta)
                self._take(content.feed(within) or _NOTHING)
                if bound.is_reached:
                    break
                if limit.is_passed(within.text + within.reasoning):
                    self._take(content.feed(Delta(finish_reason="length")) or _NOTHING)
                    break
                if self.deltas % LOOK_EVERY == 0 and pace.is_due:
                    await pace.pause()
            if rest := content.finish():
                self._take(rest)
        if bound.problem:
            raise self.track.error(
                ErrorKind.SERVER, bound.problem, "Look at the server's log: its answer has no end."
            )

    async def _listen_paid(self, paid: PaidLeg) -> None:
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
        delta = self.fold.add(delta)
        self.deltas += 1
        self.last_delta_s = self._owner.now()
        self.excused_s = None
        # A text before a call that has to be made is not the answer yet.
        is_text = delta.has_content and not (self.request and self.request.must_call)
        if not self.has_content and (is_text or self.fold.has_whole_call):
            self.has_content = True
            self.first_content_s = self.last_delta_s
        self._owner.on_delta(self, delta)

    def _fail(self, error: EngineError) -> None:
        if self.error is None and not self.stopped:
            error.track = self.track.name
            self.error = error

    def fail(self, error: EngineError) -> None:
        """Fail the leg for a reason of the scheduler (a stall), and stop it."""
        self._fail(error)
        self.stop()

    @property
    def usage(self) -> Usage | None:
        """What the leg consumed: as billed, else as the engine reported, else by its receipt.

        Counts that are impossible are replaced by estimates.
        """
        seen = self.fold.completion()
        reported = self._billed or seen.usage
        receipt = self._stream.receipt if self._stream else None
        if reported is None and receipt is not None:
            reported = Usage(receipt.input_tokens, receipt.output_tokens, exact=receipt.exact)
        if self._billed or reported is None or self.request is None:
            return reported
        if self._believed is None or self._believed[:2] != (reported, self.deltas):
            usage = believed_usage(reported, self.request, seen, window=self._window)
            self._believed = (reported, self.deltas, usage)
        return self._believed[2]

    @property
    def _window(self) -> int | None:
        """The larger of the configured window and the engine's own, in tokens."""
        windows = (self.track.window, self.track.engine.window)
        return max((window for window in windows if window), default=None)

    def trace(self) -> LegTrace:
        """Return the leg's record so far."""
        receipt = self._stream.receipt if self._stream else None
        usage = self.usage
        after_stop = max(0, receipt.tokens_after_stop) if receipt else 0
        price = self.track.price
        return LegTrace(
            leg=self.number,
            round=self._owner.round,
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
            cpu_s=finite(receipt.cpu_s) if receipt else 0.0,
            tokens_after_stop=after_stop,
            cpu_after_stop_s=finite(receipt.cpu_after_stop_s) if receipt else 0.0,
            cost_after_stop_usd=price.of_tokens(0, after_stop),
            verdict=self.verdict.why if self.verdict else None,
            accepted=self.verdict.accepted if self.verdict else None,
            score=self.verdict.score if self.verdict else None,
            error=self.error.to_dict() if self.error else None,
        )


class AnswerFilter:
    """Moves the reasoning and the calls in an answer's text to where they belong.

    Engines do so themselves; this covers an adapter that does not.

    :param request: what was sent.
    """

    def __init__(self, request: GenerationRequest) -> None:
        continues = bool(request.prefix)
        self._reasoning = ReasoningFilter(
            continues=continues,
            quoted=quoted_marks(request.messages),
            calls=bool(request.tools),
        )
        quoted = quoted_calls(request.messages, must_call=request.must_call)
        self._calls = CallFilter(
            request.tools, request.most_calls, continues=continues, quoted=quoted
        )

    def feed(self, delta: Delta) -> Delta | None:
        """Take the next delta and return what is known of it; None while it is held back."""
        split = self._reasoning.feed(delta)
        return None if split is None else self._calls.feed(split)

    def finish(self) -> Delta | None:
        """Return what was held back when an answer ended without a last delta."""
        held = self._reasoning.finish()
        first = self._calls.feed(held) if held else None
        last = self._calls.finish()
        if first is None or last is None:
            return first or last
        return replace(
            last,
            text=first.text + last.text,
            reasoning=first.reasoning + last.reasoning,
            tool_calls=first.tool_calls + last.tool_calls,
        )


class PaidLeg(Protocol):
    """A leg that money is reserved for."""

    @property
    def request(self) -> GenerationRequest:
        """The request to send, with its answer bounded if the budget needs a bound."""
        ...

    async def close(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        """Settle a leg that has ended. Never raises.

        :param usage: token counts reported by the engine, or None.
        :param seen: the answer, as far as it was received.
        :param failure: the engine's error, or None.
        :returns: the usage that is billed, None if nothing is.
        """
        ...


class Purse(Protocol):
    """Pays for the legs of one turn."""

    async def open_leg(self, track: Track, request: GenerationRequest) -> PaidLeg | None:
        """Reserve the most that a leg can cost.

        :param track: the track that would answer.
        :param request: the request that would be sent.
        :returns: the paid leg, None for a track without a price.
        :raises EngineError: `budget` if a cap does not allow the leg. Only this leg fails.
        """
        ...
