"""Telemetry: OpenTelemetry's spans and metrics for generative AI, of every turn.

A turn is a span `invoke_workflow {policy}`, its legs are `chat {model}` below it; the metrics are
`gen_ai.client.operation.duration`, `.token.usage`, `.operation.time_to_first_chunk` and
`.operation.time_per_output_chunk` (semantic conventions for generative AI, 2026). Where the library
(extra `otel`) is not installed nothing happens; where to send things is the embedder's to say, as
everywhere in OpenTelemetry. Invariants: no text of a prompt or a reply is ever told; of a private
turn nothing is told but that there was one; whatever fails here, the turn does not notice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from vanta.events import (
    Event,
    LegStarted,
    LegTrace,
    TextDelta,
    Trace,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)

_log = logging.getLogger("vanta.telemetry")

_SECONDS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
_CHUNK_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4**power for power in range(14))


@dataclass(slots=True)
class _Turn:
    """A running turn, as far as its trace will not tell it."""

    turn_id: str
    parent: Any
    began_ns: int
    models: dict[int, str] = field(default_factory=dict)
    spoke_s: dict[int, float] = field(default_factory=dict)
    gaps: list[tuple[int, float]] = field(default_factory=list)


def observers(*, enabled: bool) -> tuple[Callable[[Event], None], ...]:
    """The observer that tells OpenTelemetry of every turn; none if it is not installed or not
    `enabled`. Imports the library, which takes some milliseconds."""
    if not enabled:
        return ()
    try:
        return (Telemetry(),)
    except ImportError:
        return ()
    except Exception:  # noqa: BLE001 - a broken installation of it must not close vanta
        _log.warning("OpenTelemetry is installed but cannot be used; telemetry is off.")
        return ()


class Telemetry:
    """An observer of events. Uses the providers given, else OpenTelemetry's global ones.

    Raises ImportError if the library is not installed.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        from opentelemetry import context, metrics, trace

        self._context, self._trace = context, trace
        self._tracer = trace.get_tracer("vanta", tracer_provider=tracer_provider)
        self._instruments = _instruments(metrics.get_meter("vanta", meter_provider=meter_provider))
        # Events do not say whose turn they are of; all its tasks descend from where it started.
        self._running: ContextVar[_Turn | None] = ContextVar("vanta_telemetry", default=None)
        self._has_failed = False

    def __call__(self, event: Event) -> None:
        """Take an event; never raises."""
        try:
            self._take(event)
        except Exception:  # noqa: BLE001 - watching must not break what is watched
            if not self._has_failed:
                _log.warning("telemetry failed; this is said once.", exc_info=True)
            self._has_failed = True

    def _take(self, event: Event) -> None:
        turn = self._running.get()
        if isinstance(event, TurnStarted):
            parent = self._context.get_current()
            self._running.set(_Turn(event.turn_id, parent, time.time_ns()))
        elif turn is None:
            return
        elif isinstance(event, LegStarted):
            turn.models[event.leg] = event.model
        elif isinstance(event, TextDelta):
            if event.leg in turn.spoke_s:
                turn.gaps.append((event.leg, event.at_s - turn.spoke_s[event.leg]))
            turn.spoke_s[event.leg] = event.at_s
        elif isinstance(event, TurnFinished | TurnFailed):
            self._running.set(None)
            trace = event.reply.trace if isinstance(event, TurnFinished) else event.trace
            if trace.turn_id == turn.turn_id:
                self._tell(turn, trace)

    def _tell(self, turn: _Turn, trace: Trace) -> None:
        if trace.private:
            self._tell_private()
            return
        about = _of_turn(trace)
        span = self._tracer.start_span(
            f"invoke_workflow {trace.policy}",
            context=turn.parent,
            attributes={**about, **_more_of_turn(trace)},
            start_time=turn.began_ns,
        )
        if trace.status == "failed":
            span.set_status(self._trace.StatusCode.ERROR)
        inside = self._trace.set_span_in_context(span, turn.parent)
        for leg in trace.legs:
            self._tell_leg(turn, leg, inside)
        span.end(_at_ns(turn, trace.duration_s))
        self._record("duration", trace.duration_s, about)

    def _tell_private(self) -> None:
        """That there was one: not under whom, not for how long, not what came of it."""
        now_ns = time.time_ns()
        span = self._tracer.start_span(
            "invoke_workflow",
            context=self._context.Context(),
            attributes={"gen_ai.operation.name": "invoke_workflow", "vanta.turn.private": True},
            start_time=now_ns,
        )
        span.end(now_ns)

    def _tell_leg(self, turn: _Turn, leg: LegTrace, inside: Any) -> None:
        about = _of_leg(leg, turn.models.get(leg.leg, leg.model))
        span = self._tracer.start_span(
            f"chat {about['gen_ai.request.model']}",
            context=inside,
            kind=self._trace.SpanKind.CLIENT,
            attributes={**about, **_more_of_leg(leg)},
            start_time=_at_ns(turn, leg.started_s),
        )
        if leg.error:
            span.set_status(self._trace.StatusCode.ERROR)
        ended_s = leg.started_s if leg.ended_s is None else leg.ended_s
        span.end(_at_ns(turn, ended_s))
        self._measure(turn, leg, ended_s, about)

    def _measure(
        self, turn: _Turn, leg: LegTrace, ended_s: float, about: Mapping[str, Any]
    ) -> None:
        self._record("duration", ended_s - leg.started_s, about)
        if leg.first_content_s is not None:
            self._record("first_chunk", leg.first_content_s - leg.started_s, about)
        for number, gap_s in turn.gaps:
            if number == leg.leg:
                self._record("chunk", gap_s, about)
        if leg.usage:
            plain = {key: value for key, value in about.items() if key != "error.type"}
            read, written = leg.usage.input_tokens, leg.usage.output_tokens
            self._record("tokens", read, {**plain, "gen_ai.token.type": "input"})
            self._record("tokens", written, {**plain, "gen_ai.token.type": "output"})

    def _record(self, instrument: str, value: float, about: Mapping[str, Any]) -> None:
        self._instruments[instrument].record(value, about)


def _instruments(meter: Any) -> dict[str, Any]:
    def histogram(name: str, unit: str, description: str, bounds: tuple[float, ...]) -> Any:
        return meter.create_histogram(
            f"gen_ai.client.{name}",
            unit=unit,
            description=description,
            explicit_bucket_boundaries_advisory=list(bounds),
        )

    return {
        "duration": histogram("operation.duration", "s", "GenAI operation duration.", _SECONDS),
        "tokens": histogram(
            "token.usage", "{token}", "Number of input and output tokens used.", _TOKENS
        ),
        "first_chunk": histogram(
            "operation.time_to_first_chunk", "s", "Time to receive the first chunk.", _SECONDS
        ),
        "chunk": histogram(
            "operation.time_per_output_chunk",
            "s",
            "Time per output chunk, recorded for each chunk received after the first one.",
            _CHUNK_SECONDS,
        ),
    }


def _of_turn(trace: Trace) -> dict[str, Any]:
    about = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.provider.name": "vanta",
        "gen_ai.workflow.name": trace.policy,
    }
    if trace.status == "failed":
        kinds = [str(leg.error["kind"]) for leg in trace.legs if leg.error]
        about["error.type"] = kinds[-1] if kinds else "no_track"
    return about


def _more_of_turn(trace: Trace) -> dict[str, Any]:
    return {
        "gen_ai.conversation.id": trace.session_id,
        "vanta.turn.id": trace.turn_id,
        "vanta.turn.status": trace.status,
        "vanta.turn.cost_usd": sum(leg.cost_usd for leg in trace.legs),
    }


def _of_leg(leg: LegTrace, asked_model: str) -> dict[str, Any]:
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": leg.engine,
        "gen_ai.request.model": asked_model,
        "gen_ai.response.model": leg.model,
    }
    if leg.error:
        about["error.type"] = str(leg.error["kind"])
    return about


def _more_of_leg(leg: LegTrace) -> dict[str, Any]:
    more: dict[str, Any] = {
        "gen_ai.request.stream": True,
        "vanta.track": leg.track,
        "vanta.leg.state": leg.state,
        "vanta.leg.cost_usd": leg.cost_usd,
    }
    if leg.first_content_s is not None:
        more["gen_ai.response.time_to_first_chunk"] = leg.first_content_s - leg.started_s
    if leg.usage:
        more["gen_ai.usage.input_tokens"] = leg.usage.input_tokens
        more["gen_ai.usage.output_tokens"] = leg.usage.output_tokens
    return more


def _at_ns(turn: _Turn, at_s: float) -> int:
    return turn.began_ns + round(at_s * 1e9)
