"""Expectations on how a reply came about: track, policy, events, error.

Invariant: they read the reply's own record and nothing else.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from vanta import events
from vanta.errors import did_you_mean
from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.checks.values import ONE_OR_MANY, Text, Texts
from vanta_scripts.expectations import excerpt, listed

_EVENTS = tuple(
    name
    for name, value in vars(events).items()
    if isinstance(value, type) and issubclass(value, events.Event) and value is not events.Event
)


def _event(step: str) -> str:
    name = step.partition(" ")[0]
    if name not in _EVENTS:
        raise ValueError(f"no event is named {name!r}. {did_you_mean(name, _EVENTS)}")
    return step


_Steps = Annotated[
    tuple[Annotated[Text, AfterValidator(_event)], ...], ONE_OR_MANY, Field(min_length=1)
]


def _track(names: tuple[str, ...], seen: Seen) -> Failure | None:
    if seen.reply.track in names:
        return None
    expected = f"the reply of track {listed(names, 'or')}"
    return Failure("track", expected, f"that of track {seen.reply.track!r}")


def _policy(names: tuple[str, ...], seen: Seen) -> Failure | None:
    if seen.reply.trace.policy in names:
        return None
    expected = f"a turn under policy {listed(names, 'or')}"
    return Failure("policy", expected, f"one under {seen.reply.trace.policy!r}")


def _in_order(steps: tuple[str, ...], seen: Seen) -> Failure | None:
    """Whether the events have `steps` in this order, others in between allowed."""
    passed = iter(seen.events)
    for number, step in enumerate(steps):
        if not any(_is(event, step) for event in passed):
            after = f" after {steps[number - 1]!r}" if number else ""
            came = " → ".join(map(_told, _without_repeats(seen.events)))
            return Failure("events", f"the event {step!r}{after}", came or "no event")
    return None


def _is(event: events.Event, step: str) -> bool:
    name, _, track = step.partition(" ")
    return type(event).__name__ == name and track in ("", getattr(event, "track", ""))


def _told(event: events.Event) -> str:
    return f"{type(event).__name__} {getattr(event, 'track', '')}".rstrip()


def _without_repeats(seen: tuple[events.Event, ...]) -> list[events.Event]:
    return [
        event
        for before, event in zip((None, *seen), seen, strict=False)
        if not (isinstance(event, events.TextDelta) and isinstance(before, events.TextDelta))
    ]


def _error(wanted: tuple[str, ...], seen: Seen) -> Failure:
    """A turn that has a reply has no error; `vanta_scripts.judgement` judges one that has."""
    expected = f"an error that contains {listed(wanted, 'and')}"
    return Failure("error", expected, f"the reply {excerpt(seen.reply.text)}")


EXPECTATIONS = (
    Expectation("track", "the track, or one of several, that answers", Texts, _track),
    Expectation("policy", "the policy, or one of several, that the turn ran under", Texts, _policy),
    Expectation("events", "events in an order that must hold: `Takeover local`", _Steps, _in_order),
    Expectation("error", "text of the error that the turn has to end in", Texts, _error),
)
