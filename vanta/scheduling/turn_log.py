"""The log of a round: emits an event for everything that happens to its legs.

Invariant: the shown text is the concatenation of the emitted `TextDelta`s since the last restart or
amendment, over all rounds of the turn; `shown` is the part of this round. The texts of two rounds
are two paragraphs.
"""

from __future__ import annotations

from collections.abc import Callable

from vanta.errors import EngineError
from vanta.events import (
    Amended,
    Committed,
    Event,
    LegCancelled,
    LegFailed,
    LegFinished,
    LegRejected,
    LegStarted,
    ReasoningDelta,
    Takeover,
    TextDelta,
)
from vanta.messages import add_fragment
from vanta.scheduling.gate import Verdict
from vanta.scheduling.leg import Leg


class TurnLog:
    """Emits the events of a turn.

    :param emit: called with each event.
    :param now: returns the seconds since the turn began.
    :param before: the text that earlier rounds have shown.
    :param number: the number of the round, from 0.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        before: str = "",
        number: int = 0,
    ) -> None:
        self._emit = emit
        self._now = now
        self._before = before
        self._round = number
        self._shown: list[str] = []
        self.first_content_s: float | None = None

    @property
    def shown(self) -> str:
        """The text of this round that the user has seen."""
        return "".join(self._shown)

    def text(self, leg: Leg, text: str) -> None:
        """Show text of the committed leg; empty text emits no event."""
        if not text:
            return
        gap = "" if self._shown else paragraph_break(self._before)
        add_fragment(self._shown, text)
        at_s = self._now()
        if self.first_content_s is None:
            self.first_content_s = at_s
        self._emit(TextDelta(at_s=at_s, leg=leg.number, track=leg.track.name, text=gap + text))

    def reasoning(self, leg: Leg, text: str, *, shown: bool) -> None:
        """Report reasoning of a leg, or keep it until the leg is committed.

        :param leg: the leg.
        :param text: the next part of its reasoning; empty text emits no event.
        :param shown: whether the leg is committed, or no other may answer.
        """
        if text:
            add_fragment(leg.thoughts, text)
        if shown and leg.thoughts:
            text = "".join(leg.thoughts)
            leg.thoughts.clear()
            self._emit(
                ReasoningDelta(at_s=self._now(), leg=leg.number, track=leg.track.name, text=text)
            )

    def pending(self, leg: Leg) -> None:
        """Show what a leg had before it was committed."""
        self.reasoning(leg, "", shown=True)
        self.text(leg, "".join(leg.pending))
        leg.pending.clear()

    def started(self, leg: Leg) -> None:
        """Report that a leg starts."""
        self._emit(
            LegStarted(
                at_s=leg.started_s,
                leg=leg.number,
                track=leg.track.name,
                model=leg.track.engine.model,
                why=leg.why,
                round=self._round,
            )
        )

    def committed(self, leg: Leg, why: str) -> None:
        """Report that the turn commits to a leg."""
        self._emit(Committed(at_s=self._now(), leg=leg.number, track=leg.track.name, why=why))

    def takeover(self, leg: Leg, broken: Leg, *, restarts: bool) -> None:
        """Report that `leg` continues where `broken` stopped, or answers again in its place."""
        shown_chars = len(self.shown)
        if restarts:
            self._shown.clear()
        self._emit(
            Takeover(
                at_s=self._now(),
                leg=leg.number,
                track=leg.track.name,
                from_leg=broken.number,
                from_track=broken.track.name,
                shown_chars=shown_chars,
                why=broken.error.message if broken.error else "it broke",
                restarts=restarts,
            )
        )
        if restarts and self._before:  # a restart voids what was shown, but not earlier rounds
            event = TextDelta(
                at_s=self._now(), leg=leg.number, track=leg.track.name, text=self._before
            )
            self._emit(event)

    def amended(self, leg: Leg, text: str, why: str) -> None:
        """Report that the text of `leg` replaces the shown text."""
        self._shown[:] = [text]
        text = self._before + paragraph_break(self._before) + text
        self._emit(
            Amended(at_s=self._now(), leg=leg.number, track=leg.track.name, text=text, why=why)
        )

    def finished(self, leg: Leg) -> None:
        """Report that a leg reached the end of its answer."""
        answer = leg.fold.completion()
        self._emit(
            LegFinished(
                at_s=self._now(),
                leg=leg.number,
                track=leg.track.name,
                finish_reason=answer.finish_reason,
                usage=leg.usage,
            )
        )

    def verified(self, leg: Leg) -> None:
        """Report that a leg which judged an answer has ended."""
        if leg.error:
            self.failed(leg, leg.error)
        else:
            self.finished(leg)

    def failed(self, leg: Leg, error: EngineError) -> None:
        """Report that a leg broke."""
        self._emit(
            LegFailed(at_s=self._now(), leg=leg.number, track=leg.track.name, error=error.to_dict())
        )

    def rejected(self, leg: Leg, verdict: Verdict) -> None:
        """Report that the gate rejected an answer."""
        self._emit(
            LegRejected(
                at_s=self._now(),
                leg=leg.number,
                track=leg.track.name,
                score=verdict.score,
                why=verdict.why,
            )
        )

    def cancelled(self, leg: Leg) -> None:
        """Report that a leg has ended after it was requested to stop."""
        trace = leg.trace()
        self._emit(
            LegCancelled(
                at_s=self._now(),
                leg=leg.number,
                track=leg.track.name,
                confirmed_s=(leg.ended_s or 0.0) - (leg.stop_asked_s or 0.0),
                tokens_after_stop=trace.tokens_after_stop,
                cpu_after_stop_s=trace.cpu_after_stop_s,
            )
        )


def paragraph_break(before: str) -> str:
    """Return what stands between the texts of two rounds.

    :param before: the text of the earlier ones.
    """
    return "\n\n"[len(before) - len(before.rstrip("\n")) :] if before else ""
