"""Showing a turn on a terminal: its events in words, and Ctrl-C that stops it.

Invariant: `ask`, `chat`, `run` and `demo` use the same words for the same event.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from vanta.events import (
    Amended,
    CallFinished,
    CallRequested,
    Committed,
    Event,
    LegCancelled,
    LegFailed,
    LegRejected,
    LegStarted,
    RoundStarted,
    Takeover,
    TurnStarted,
)
from vanta.trace import LegTrace, Reply

T = TypeVar("T")
_LOOK_UP_S = 0.1
_LAST_INTERRUPT = 3
"""The Ctrl-C that abandons work which does not stop."""


class Interruptible(Generic[T]):
    """Work on a runtime's event loop that the main thread watches and Ctrl-C stops.

    The main thread owns the terminal and the signals; another thread, that of the synchronous
    facade, runs the event loop. So neither reading nor printing a line blocks a turn. Invariant:
    when `watch` returns or raises, the work has ended; Ctrl-C is a cancellation and never an
    exception in the middle of the work.

    :param portal: the portal of an open runtime, `SyncRuntime.portal`.
    """

    def __init__(self, portal: BlockingPortal) -> None:
        self.interrupts = 0
        self._portal = portal
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self._scope: anyio.CancelScope | None = None

    def watch(
        self, work: Callable[[Callable[[T], None]], Awaitable[None]], show: Callable[[T], None]
    ) -> bool:
        """Run `work` to its end and show its progress in the calling thread.

        :param work: an async function; it receives a callable that reports an item of progress.
        :param show: called in the main thread with each reported item.
        :returns: False if Ctrl-C stopped the work.
        :raises KeyboardInterrupt: if the work does not stop and Ctrl-C comes a third time.
        """
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            done = self._portal.start_task_soon(self._run, work)
            try:
                while (item := self._next_item()) is not None:
                    show(item)
            except BaseException:
                self._portal.start_task_soon(self._cancel)
                wait([done])
                raise
            finished: bool = done.result()
            return finished
        finally:
            signal.signal(signal.SIGINT, before)

    def _next_item(self) -> T | None:
        """Wait for progress; signals that came just before a wait are seen within a tenth."""
        while True:
            with suppress(Empty):
                return self._items.get(timeout=_LOOK_UP_S)

    async def _run(self, work: Callable[[Callable[[T], None]], Awaitable[None]]) -> bool:
        try:
            with anyio.CancelScope() as self._scope:
                if self.interrupts:
                    self._scope.cancel()
                await work(self._items.put)
                return True
            return False
        finally:
            self._items.put(None)

    async def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def _on_interrupt(self, *_: object) -> None:
        self.interrupts += 1
        if self.interrupts >= _LAST_INTERRUPT:
            raise KeyboardInterrupt
        self._portal.start_task_soon(self._cancel)


def describe_event(event: Event) -> str | None:
    """Return an event in one line.

    :param event: an event of a turn.
    :returns: the line, or None for an event that the reply's text shows.
    """
    line: str | None = None
    match event:
        case TurnStarted():
            line = f"policy {event.policy}, at most {event.deadline_s:g} s"
        case LegStarted():
            line = f"{event.track} starts ({event.why})"
        case Committed():
            line = f"{event.track} answers ({event.why}, {format_seconds(event.at_s)})"
        case Takeover():
            line = f"{event.from_track} broke, {event.track} continues ({event.why})"
        case Amended():
            line = f"{event.track} amends: {event.why}"
        case LegFailed():
            line = f"{event.track} failed: {describe_failure(event)}"
        case LegRejected():
            line = f"{event.track} was rejected: {event.why}"
        case LegCancelled():
            line = f"{event.track} stopped within {format_seconds(event.confirmed_s)}"
        case _:
            line = _describe_call(event)
    return line


def _describe_call(event: Event) -> str | None:
    match event:
        case RoundStarted():
            why = f"{event.limit} is reached" if event.limit else "the results are in"
            return f"round {event.round + 1} ({why})"
        case CallRequested():
            return f"{event.track} calls {event.tool}({_shortened(event.arguments)})"
        case CallFinished():
            return f"{event.tool} {event.state} ({format_seconds(event.took_s)})"
    return None


def _shortened(text: str, most: int = 80) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 3]}..."


def describe_failure(event: LegFailed) -> str:
    """Return the cause of a leg's failure, with a suggestion where one is known."""
    message = str(event.error["message"])
    suggestion = str(event.error.get("suggestion") or "")
    return f"{event.error['kind']}: {message}{'.' if suggestion else ''} {suggestion}".rstrip()


def describe_reply(reply: Reply) -> str:
    """Return a finished turn in one line: track, model, times, tokens and cost."""
    parts = [
        f"{reply.track} ({reply.model})",
        f"{format_seconds(reply.timings.first_content_s)} to first text",
        f"{format_seconds(reply.timings.duration_s)} in all",
    ]
    if reply.usage:
        parts.append(f"{reply.usage.output_tokens} tokens")
    parts.append(format_money(reply.cost_usd))
    if reply.finish_reason in ("length", "deadline", "content_filter"):
        parts.append(f"cut: {reply.finish_reason}")
    return " · ".join(parts)


def describe_loss(leg: LegTrace) -> str:
    """Return the tokens, time and money that a leg used without serving the turn."""
    tokens = leg.usage.output_tokens if leg.usage else 0
    about = "" if leg.usage is None or leg.usage.exact else "about "
    spent = (leg.ended_s or leg.started_s) - leg.started_s
    used = f"{about}{tokens} tokens, {format_seconds(spent)}, {format_money(leg.cost_usd)}"
    return f"{leg.track}: {used}"


def format_seconds(value: float | None) -> str:
    """Return a duration for a person.

    :param value: seconds, or None for a moment that never came.
    :returns: such as "120 ms", "1.50 s" or "never".
    """
    if value is None:
        return "never"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def format_money(usd: float) -> str:
    """Return an amount of money for a person.

    :param usd: US dollars, 0 or more.
    :returns: such as "$0.12"; an amount below one cent keeps its digits.
    """
    if usd == 0:
        return "$0"
    return f"${usd:.2f}" if usd >= 0.01 else f"${usd:.6f}".rstrip("0")
