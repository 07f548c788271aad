"""What a turn's events say to a person, in a line each.

Invariant: pure, and the same words in `ask`, `chat`, `run` and `demo`.
"""

from __future__ import annotations

from vanta.events import (
    Amended,
    Committed,
    Event,
    LegCancelled,
    LegFailed,
    LegRejected,
    LegStarted,
    LegTrace,
    Reply,
    Takeover,
    TurnStarted,
)


def narrate(event: Event) -> str | None:
    """The event in a line, None for those that the text itself shows."""
    line: str | None = None
    match event:
        case TurnStarted():
            line = f"policy {event.policy}, {event.deadline_s:g} s at the most"
        case LegStarted():
            line = f"{event.track} starts ({event.why})"
        case Committed():
            line = f"{event.track} speaks ({event.why}, {seconds(event.at_s)})"
        case Takeover():
            line = f"{event.from_track} broke, {event.track} goes on ({event.why})"
        case Amended():
            line = f"{event.track} amends: {event.why}"
        case LegFailed():
            line = f"{event.track} failed: {failure(event)}"
        case LegRejected():
            line = f"{event.track} was turned down: {event.why}"
        case LegCancelled():
            line = f"{event.track} stopped within {seconds(event.confirmed_s)}"
    return line


def failure(event: LegFailed) -> str:
    """What broke a leg, with the way out where one is known."""
    message = str(event.error["message"])
    advice = str(event.error.get("suggestion") or "")
    return f"{event.error['kind']}: {message}{'.' if advice else ''} {advice}".rstrip()


def summary(reply: Reply) -> str:
    """A finished turn in a line: who, which model, when, how much, for what."""
    parts = [
        f"{reply.track} ({reply.model})",
        f"{seconds(reply.timings.first_content_s)} to first text",
        f"{seconds(reply.timings.duration_s)} in all",
    ]
    if reply.usage:
        parts.append(f"{reply.usage.output_tokens} tokens")
    parts.append(money(reply.cost_usd))
    if reply.finish_reason in ("length", "deadline", "content_filter"):
        parts.append(f"cut: {reply.finish_reason}")
    return " · ".join(parts)


def loss(leg: LegTrace) -> str:
    """What a leg that did not serve the turn has cost."""
    tokens = leg.usage.output_tokens if leg.usage else 0
    about = "" if leg.usage is None or leg.usage.exact else "about "
    spent = (leg.ended_s or leg.started_s) - leg.started_s
    return f"{leg.track}: {about}{tokens} tokens, {seconds(spent)}, {money(leg.cost_usd)}"


def seconds(value: float | None) -> str:
    """A time as a person reads it."""
    if value is None:
        return "never"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def money(usd: float) -> str:
    """An amount as a person reads it; what is less than a cent keeps its digits."""
    if usd == 0:
        return "$0"
    return f"${usd:.2f}" if usd >= 0.01 else f"${usd:.6f}".rstrip("0")
