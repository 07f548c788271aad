"""Metrics of the server in Prometheus' format, under names that begin with `vanta_`.

They come from the events of all turns and from the requests themselves, and every server process
counts its own. Invariant: no label has text of a user, a session or a key; a private turn counts as
one turn of the policy `private` and nothing else; a metric that cannot be recorded never breaks a
turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response
from starlette.routing import Route

from vanta import Event, LegTrace, Takeover, Trace, TurnFailed, TurnFinished
from vanta_server.http import App, Message, Receive, Scope, Send

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
_PRIVATE = "private"


class Metrics:
    """Counts what a server does: an observer of turns, and what answers `/metrics`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._turns = self._counter("turns", "Turns that have ended.", "policy", "status")
        self._duration = self._histogram("turn_duration_seconds", "Whole turns.", "policy")
        self._first = self._histogram(
            "first_content_seconds", "From the start of a leg to its first text.", "track", "model"
        )
        self._legs = self._counter(
            "legs", "Legs that have ended; one that is `won` answered.", "track", "model", "state"
        )
        self._leg_duration = self._histogram(
            "leg_duration_seconds", "Legs, losers included.", "track", "model"
        )
        self._tokens = self._counter(
            "tokens", "Tokens of all legs, losers included.", "track", "model", "type"
        )
        self._cost = self._counter("cost_usd", "US dollars of all legs.", "track", "model")
        self._takeovers = self._counter(
            "takeovers", "Answers that another track went on with.", "from_track", "track"
        )
        self._calls = self._counter("tool_calls", "Tool calls that have ended.", "tool", "state")
        self._requests = self._counter("http_requests", "Answered requests.", "route", "status")
        self._running = Gauge(
            "vanta_http_requests_running",
            "Requests that are being answered.",
            registry=self.registry,
        )

    def __call__(self, event: Event) -> None:
        """Record an event of a turn."""
        if isinstance(event, Takeover):
            self._takeovers.labels(event.from_track, event.track).inc()
        elif isinstance(event, TurnFinished):
            self._record(event.reply.trace)
        elif isinstance(event, TurnFailed):
            self._record(event.trace)

    def page(self) -> Response:
        """Return all metrics as Prometheus reads them."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    def _record(self, trace: Trace) -> None:
        if trace.private:
            self._turns.labels(_PRIVATE, "").inc()
            return
        self._turns.labels(trace.policy, trace.status).inc()
        self._duration.labels(trace.policy).observe(trace.duration_s)
        for leg in trace.legs:
            self._record_leg(leg)
        for call in trace.calls:
            self._calls.labels(f"{call.toolset}.{call.tool}", call.state).inc()

    def _record_leg(self, leg: LegTrace) -> None:
        names = (leg.track, leg.model)
        self._legs.labels(*names, leg.state).inc()
        self._cost.labels(*names).inc(leg.cost_usd)
        if leg.ended_s is not None:
            self._leg_duration.labels(*names).observe(leg.ended_s - leg.started_s)
        if leg.first_content_s is not None:
            self._first.labels(*names).observe(leg.first_content_s - leg.started_s)
        if leg.usage is not None:
            self._tokens.labels(*names, "input").inc(leg.usage.input_tokens)
            self._tokens.labels(*names, "output").inc(leg.usage.output_tokens)

    def counted(self, app: App, api: FastAPI) -> App:
        """Return an application whose requests are counted.

        :param app: the application.
        :param api: what routes its requests, and so names their routes.
        """
        routes = {
            id(route.endpoint): route.path for route in api.routes if isinstance(route, Route)
        }

        async def count(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status = ["none"]  # a client that left before its answer began

            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status[0] = str(message["status"])
                await send(message)

            with self._running.track_inprogress():
                try:
                    await app(scope, receive, tell)
                finally:
                    route = routes.get(id(scope.get("endpoint")), "other")
                    self._requests.labels(route, status[0]).inc()

        return count

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"vanta_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, *labels: str) -> Histogram:
        buckets: Sequence[Any] = _SECONDS
        return Histogram(f"vanta_{name}", about, labels, buckets=buckets, registry=self.registry)
