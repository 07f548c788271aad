"""OpenTelemetry spans and metrics of every turn.

A turn is a span `invoke_workflow {policy}`, and its legs are spans `chat {model}` below it; the
metrics are `gen_ai.client.operation.duration`, `.token.usage`, `.operation.time_to_first_chunk` and
`.operation.time_per_output_chunk` (semantic conventions for generative AI, 2026). Without the
library (extra `otel`) nothing happens. The program that embeds vanta configures where spans and
metrics are sent, as everywhere in OpenTelemetry. Invariants: no text of a prompt or a reply is ever
exported; a private turn exports only that it happened; a failure here never reaches the turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from vanta.events import Event, LegStarted, TextDelta, TurnFailed, TurnFinished, TurnStarted
from vanta.trace import LegTrace, Trace

_log = logging.getLogger("vanta.telemetry")

_SECONDS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
_CHUNK_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4**power for power in range(14))


@dataclass(slots=True)
class _Turn:
    """What a running turn shows that its trace will not have."""

    turn_id: str
    parent: Any
    began_ns: int
    models: dict[int, str] = field(default_factory=dict)
    last_text_s: dict[int, float] = field(default_factory=dict)
    gaps: list[tuple[int, float]] = field(default_factory=list)


def observers(*, enabled: bool) -> tuple[Callable[[Event], None], ...]:
    """Return the observer that exports turns to OpenTelemetry, if the library is installed.

    Importing the library takes some milliseconds.

    :param enabled: the configuration's `telemetry`; False returns no observer.
    """
    if not enabled:
        return ()
    try:
        return (Telemetry(),)
    except ImportError:
        return ()
    except Exception:  # noqa: BLE001 - a broken installation must not keep vanta from opening
        _log.warning("OpenTelemetry is installed but cannot be used, so telemetry is off.")
        return ()


class Telemetry:
    """An observer that exports turns.

    :param tracer_provider: an OpenTelemetry provider; None for the global one.
    :param meter_provider: an OpenTelemetry provider; None for the global one.
    :raises ImportError: if the library is not installed.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        from opentelemetry import context, metrics, trace

        self._context, self._trace = context, trace
        self._tracer = trace.get_tracer("vanta", tracer_provider=tracer_provider)
        self._instruments = _instruments(metrics.get_meter("vanta", meter_provider=meter_provider))
        # Events do not name their turn; all tasks of a turn descend from the one that started it.
        self._running: ContextVar[_Turn | None] = ContextVar("vanta_telemetry", default=None)
        self._has_failed = False

    def __call__(self, event: Event) -> None:
        """Record an event; never raises.

        :param event: an event of any turn.
        """
        try:
            self._record(event)
        except Exception:  # noqa: BLE001 - an observer must not break the turn
            if not self._has_failed:
                _log.warning("telemetry failed; later failures are not logged", exc_info=True)
            self._has_failed = True

    def _record(self, event: Event) -> None:
        turn = self._running.get()
        if isinstance(event, TurnStarted):
            parent = self._context.get_current()
            self._running.set(_Turn(event.turn_id, parent, time.time_ns()))
        elif turn is None:
            return
        elif isinstance(event, LegStarted):
            turn.models[event.leg] = event.model
        elif isinstance(event, TextDelta):
            if event.leg in turn.last_text_s:
                turn.gaps.append((event.leg, event.at_s - turn.last_text_s[event.leg]))
            turn.last_text_s[event.leg] = event.at_s
        elif isinstance(event, TurnFinished | TurnFailed):
            self._running.set(None)
            trace = event.reply.trace if isinstance(event, TurnFinished) else event.trace
            if trace.turn_id == turn.turn_id:
                self._export(turn, trace)

    def _export(self, turn: _Turn, trace: Trace) -> None:
        if trace.private:
            self._export_private()
            return
        attributes = _turn_attributes(trace)
        span = self._tracer.start_span(
            f"invoke_workflow {trace.policy}",
            context=turn.parent,
            attributes={**attributes, **_turn_details(trace)},
            start_time=turn.began_ns,
        )
        if trace.status == "failed":
            span.set_status(self._trace.StatusCode.ERROR)
        context = self._trace.set_span_in_context(span, turn.parent)
        for leg in trace.legs:
            self._export_leg(turn, leg, context)
        span.end(_at_ns(turn, trace.duration_s))
        self._record_value("duration", trace.duration_s, attributes)

    def _export_private(self) -> None:
        """Export that a private turn happened, without session, duration or outcome."""
        now_ns = time.time_ns()
        span = self._tracer.start_span(
            "invoke_workflow",
            context=self._context.Context(),
            attributes={"gen_ai.operation.name": "invoke_workflow", "vanta.turn.private": True},
            start_time=now_ns,
        )
        span.end(now_ns)

    def _export_leg(self, turn: _Turn, leg: LegTrace, context: Any) -> None:
        attributes = _leg_attributes(leg, turn.models.get(leg.leg, leg.model))
        span = self._tracer.start_span(
            f"chat {attributes['gen_ai.request.model']}",
            context=context,
            kind=self._trace.SpanKind.CLIENT,
            attributes={**attributes, **_leg_details(leg)},
            start_time=_at_ns(turn, leg.started_s),
        )
        if leg.error:
            span.set_status(self._trace.StatusCode.ERROR)
        ended_s = leg.started_s if leg.ended_s is None else leg.ended_s
        span.end(_at_ns(turn, ended_s))
        self._record_leg(turn, leg, ended_s, attributes)

    def _record_leg(
        self, turn: _Turn, leg: LegTrace, ended_s: float, attributes: Mapping[str, Any]
    ) -> None:
        self._record_value("duration", ended_s - leg.started_s, attributes)
        if leg.first_content_s is not None:
            self._record_value("first_chunk", leg.first_content_s - leg.started_s, attributes)
        for number, gap_s in turn.gaps:
            if number == leg.leg:
                self._record_value("chunk", gap_s, attributes)
        if leg.usage:
            plain = {key: value for key, value in attributes.items() if key != "error.type"}
            read, written = leg.usage.input_tokens, leg.usage.output_tokens
            self._record_value("tokens", read, {**plain, "gen_ai.token.type": "input"})
            self._record_value("tokens", written, {**plain, "gen_ai.token.type": "output"})

    def _record_value(self, instrument: str, value: float, attributes: Mapping[str, Any]) -> None:
        self._instruments[instrument].record(value, attributes)


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


def _turn_attributes(trace: Trace) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.provider.name": "vanta",
        "gen_ai.workflow.name": trace.policy,
    }
    if trace.status == "failed":
        kinds = [str(leg.error["kind"]) for leg in trace.legs if leg.error]
        attributes["error.type"] = kinds[-1] if kinds else "no_track"
    return attributes


def _turn_details(trace: Trace) -> dict[str, Any]:
    return {
        "gen_ai.conversation.id": trace.session_id,
        "vanta.turn.id": trace.turn_id,
        "vanta.turn.status": trace.status,
        "vanta.turn.cost_usd": sum(leg.cost_usd for leg in trace.legs),
    }


def _leg_attributes(leg: LegTrace, requested_model: str) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": leg.engine,
        "gen_ai.request.model": requested_model,
        "gen_ai.response.model": leg.model,
    }
    if leg.error:
        attributes["error.type"] = str(leg.error["kind"])
    return attributes


def _leg_details(leg: LegTrace) -> dict[str, Any]:
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
