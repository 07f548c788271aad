"""The spans and metrics of turns, read through OpenTelemetry's SDK; failures never reach a turn."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta import telemetry
from vanta.errors import AllTracksFailed, ErrorKind
from vanta.events import Event, TurnFailed
from vanta.hookspecs import hookimpl
from vanta.telemetry import Telemetry
from vanta.testing import Fail, Hang, Say, ScriptedEngine

pytest.importorskip("opentelemetry.sdk")
from opentelemetry import trace as otel
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)

pytestmark = pytest.mark.anyio


class Watching:
    """A plugin with one observer."""

    name = "watching"

    def __init__(self, observer: Callable[[Event], None]) -> None:
        self._observer = observer

    @hookimpl
    def vanta_observers(self) -> Sequence[Callable[[Event], None]]:
        return (self._observer,)


@dataclass
class Scope:
    """A whole OpenTelemetry of its own, in memory."""

    exporter: SpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.plugin = Watching(Telemetry(self.tracers, self.meters))

    def spans(self) -> list[ReadableSpan]:
        assert isinstance(self.exporter, InMemorySpanExporter)
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def points(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def scope() -> Iterator[Scope]:
    made = Scope()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_turn_is_a_workflow_and_its_legs_are_chats_below_it(
    scope: Scope, tmp_path: Path
) -> None:
    local = ScriptedEngine(Say("Hello"), Say(" there"))
    async with open_scripted(
        tmp_path, local=local, api=ScriptedEngine(Hang()), plugins=[scope.plugin]
    ) as runtime:
        reply = await runtime.session("ada").ask("Who?", policy="race")
    by_name = {(span.name, attributes(span).get("vanta.track")): span for span in scope.spans()}
    turn = by_name["invoke_workflow race", None]
    won, lost = by_name["chat scripted-1", "local"], by_name["chat scripted-1", "api"]
    assert attributes(turn)["gen_ai.operation.name"] == "invoke_workflow"
    assert attributes(turn)["gen_ai.conversation.id"] == "ada"
    assert attributes(turn)["vanta.turn.id"] == reply.trace.turn_id
    for leg in (won, lost):
        assert leg.parent is not None
        assert leg.parent.span_id == span_id(turn)
        assert leg.kind is otel.SpanKind.CLIENT
        assert attributes(leg)["gen_ai.operation.name"] == "chat"
    assert attributes(won)["gen_ai.usage.output_tokens"] == 2
    assert attributes(won)["gen_ai.response.time_to_first_chunk"] >= 0
    assert attributes(lost)["vanta.leg.state"] == "cancelled"
    assert not won.status.description


async def test_the_metrics_of_the_semantic_conventions_are_measured(
    scope: Scope, tmp_path: Path
) -> None:
    engine = ScriptedEngine(Say("one"), Say(" two"), Say(" three"))
    async with open_scripted(tmp_path, local=engine, plugins=[scope.plugin]) as runtime:
        await runtime.session("a").ask("?", policy="local")
    points = scope.points()
    (usage_in, usage_out) = sorted(
        points["gen_ai.client.token.usage"],
        key=lambda point: str(point.attributes["gen_ai.token.type"]),
    )
    assert usage_out.sum == 3
    assert usage_in.sum > 0
    (first,) = points["gen_ai.client.operation.time_to_first_chunk"]
    assert first.attributes["gen_ai.request.model"] == "scripted-1"
    (chunks,) = points["gen_ai.client.operation.time_per_output_chunk"]
    assert chunks.count == 2
    names = {
        point.attributes["gen_ai.operation.name"]
        for point in points["gen_ai.client.operation.duration"]
    }
    assert names == {"chat", "invoke_workflow"}


async def test_a_turn_is_a_child_of_the_span_of_its_caller(scope: Scope, tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, local=ScriptedEngine("Hi"), plugins=[scope.plugin]
    ) as runtime:
        with scope.tracers.get_tracer("app").start_as_current_span("request") as outer:
            await runtime.session("a").ask("?", policy="local")
            async with runtime.session("b").stream("?", policy="local") as turn:
                _ = [event async for event in turn]
    turns = [span for span in scope.spans() if span.name.startswith("invoke_workflow")]
    assert [span.parent and span.parent.span_id for span in turns] == [
        outer.get_span_context().span_id
    ] * 2


async def test_concurrent_turns_are_kept_apart(scope: Scope, tmp_path: Path) -> None:
    engine = ScriptedEngine(Say("a"), Say("b"))
    opened = open_scripted(tmp_path, local=engine, plugins=[scope.plugin])
    async with opened as runtime, anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(runtime.session(f"s{number}").ask, "?")
    turns = {span_id(span): span for span in scope.spans() if not span.parent}
    legs = [span for span in scope.spans() if span.parent]
    assert {attributes(span)["gen_ai.conversation.id"] for span in turns.values()} == {
        f"s{number}" for number in range(8)
    }
    assert sorted(span.parent.span_id for span in legs if span.parent) == sorted(turns)
    (chunks,) = scope.points()["gen_ai.client.operation.time_per_output_chunk"]
    assert chunks.count == 8


async def test_a_failed_turn_is_exported_with_its_kind_and_without_its_message(
    scope: Scope, tmp_path: Path
) -> None:
    broken = ScriptedEngine(Fail(ErrorKind.AUTH))
    async with open_scripted(tmp_path, local=broken, plugins=[scope.plugin]) as runtime:
        with pytest.raises(AllTracksFailed):
            await runtime.session("a").ask("secret words", policy="local")
    turn, leg = scope.spans()
    assert attributes(turn)["error.type"] == attributes(leg)["error.type"] == "auth"
    assert turn.status.status_code is leg.status.status_code is otel.StatusCode.ERROR
    assert not leg.events
    assert leg.status.description is None


async def test_no_text_is_ever_exported(scope: Scope, tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, local=ScriptedEngine("Xyzzy says plugh"), plugins=[scope.plugin]
    ) as runtime:
        await runtime.session("a").ask("What does Xyzzy say?", policy="local")
    told = "".join(span.to_json() for span in scope.spans()) + repr(scope.points())
    assert "scripted-1" in told
    assert "Xyzzy" not in told


async def test_a_private_turn_exports_only_that_it_happened(scope: Scope, tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, local=ScriptedEngine(Say("a"), Say("b")), plugins=[scope.plugin]
    ) as runtime:
        with scope.tracers.get_tracer("app").start_as_current_span("request"):
            await runtime.session("ada").ask("?", policy="local", private=True)
    turn, _request = sorted(scope.spans(), key=lambda span: span.name)
    assert turn.name == "invoke_workflow"
    assert attributes(turn) == {
        "gen_ai.operation.name": "invoke_workflow",
        "vanta.turn.private": True,
    }
    assert turn.parent is None
    assert turn.start_time == turn.end_time
    assert scope.points() == {}


class Broken(SpanExporter):
    """An exporter that is down."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise OSError("the collector is down")


class BrokenMeters(MeterProvider):
    """Meters that cannot measure."""

    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        meter = super().get_meter(*args, **kwargs)

        def create_histogram(*_args: Any, **_kwargs: Any) -> Any:
            return None  # has no `record`

        meter.create_histogram = create_histogram  # type: ignore[method-assign]
        return meter


async def test_a_broken_exporter_breaks_no_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")
    scope = Scope(exporter=Broken())
    async with open_scripted(
        tmp_path, local=ScriptedEngine("Hi"), plugins=[scope.plugin]
    ) as runtime:
        assert (await runtime.session("a").ask("?", policy="local")).text == "Hi"


async def test_a_failure_of_telemetry_breaks_no_turn_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []  # kept unformatted: a traceback's text is read from files
    monkeypatch.setattr(logging.getLogger("vanta.telemetry"), "handle", records.append)
    plugin = Watching(Telemetry(TracerProvider(), BrokenMeters()))
    async with open_scripted(tmp_path, local=ScriptedEngine("Hi"), plugins=[plugin]) as runtime:
        for _ in range(3):
            assert (await runtime.session("a").ask("?", policy="local")).text == "Hi"
    assert [record.getMessage() for record in records] == [
        "telemetry failed; later failures are not logged"
    ]


async def test_telemetry_is_on_if_it_is_installed_and_one_key_turns_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Telemetry] = []

    class Counted(Telemetry):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(telemetry, "Telemetry", Counted)
    for wanted, count in ((True, 1), (False, 1)):
        async with open_scripted(tmp_path, local=ScriptedEngine("Hi"), telemetry=wanted) as one:
            await one.session("a").ask("?", policy="local")
        assert len(made) == count


def test_without_the_library_it_is_silently_off(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def none_of_it(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    assert len(telemetry.observers(enabled=True)) == 1
    monkeypatch.setattr(builtins, "__import__", none_of_it)
    assert telemetry.observers(enabled=True) == ()


async def test_a_turn_without_a_reply_ends_its_events_with_its_trace(tmp_path: Path) -> None:
    seen: list[Event] = []
    plugins = [Watching(seen.append)]
    local, api = ScriptedEngine(Fail(ErrorKind.AUTH)), ScriptedEngine(Hang())
    async with open_scripted(tmp_path, local=local, api=api, plugins=plugins) as runtime:
        with pytest.raises(AllTracksFailed):
            await runtime.session("a").ask("?", policy="local")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(runtime.session("a").ask, "?", policy="api"))
            await api.run()
            tasks.cancel_scope.cancel()
    ends = [event for event in seen if isinstance(event, TurnFailed)]
    assert [end.trace.status for end in ends] == ["failed", "cancelled"]
    assert [end.trace.legs[0].state for end in ends] == ["failed", "cancelled"]
