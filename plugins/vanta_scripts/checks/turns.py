"""Expectations on the turn: memories, track, policy, events, error, and limits.

Memory expectations look at what the answering track was shown. A name refers to a fixture of the
script, a number to an item's id, any other text is searched in the items. Invariant: these checks
read the reply's own record and nothing else. A limit includes its value; a value that was not
measured does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from vanta import (
    CheckedTurn,
    Event,
    Expectation,
    Failure,
    ReasoningDelta,
    TextDelta,
    did_you_mean,
)
from vanta.memory import MemoryItem
from vanta_scripts.checks.values import (
    ONE_OR_MANY,
    NotNegative,
    Positive,
    Text,
    Texts,
    as_tuple,
    excerpt,
    listed,
)

_MAX_SHOWN = 8
_LEFT_OUT = "they are private, already in the conversation, or did not fit"
_Wanted = int | Text
_Memories = Annotated[
    tuple[_Wanted, ...],
    BeforeValidator(as_tuple, json_schema_input_type=_Wanted | list[_Wanted]),
    Field(min_length=1),
]
_EVENTS = tuple(kind.__name__ for kind in Event.__subclasses__())


def _valid_step(step: str) -> str:
    name = step.partition(" ")[0]
    if name not in _EVENTS:
        raise ValueError(f"no event is named {name!r}. {did_you_mean(name, _EVENTS)}")
    return step


_Steps = Annotated[
    tuple[Annotated[Text, AfterValidator(_valid_step)], ...], ONE_OR_MANY, Field(min_length=1)
]
_Count = Annotated[int, Field(ge=1)]


def _recalled(wanted: tuple[_Wanted, ...], seen: CheckedTurn) -> Failure | None:
    missing = [want for want in wanted if not _matches(want, seen)]
    if not missing:
        return None
    expected = f"{_quoted(missing)} among the memories shown to track {seen.reply.track!r}"
    return Failure("recalled", expected, *_shown(seen.recalled, seen))


def _not_recalled(unwanted: tuple[_Wanted, ...], seen: CheckedTurn) -> Failure | None:
    present = [want for want in unwanted if _matches(want, seen)]
    if not present:
        return None
    items = {item.id: item for want in present for item in _matches(want, seen)}
    expected = f"none of {_quoted(present)} among the memories shown to track {seen.reply.track!r}"
    return Failure("not_recalled", expected, *_shown(tuple(items.values()), seen))


def _matches(wanted: _Wanted, seen: CheckedTurn) -> list[MemoryItem]:
    if isinstance(wanted, int):
        return [item for item in seen.recalled if item.id == wanted]
    if wanted in seen.labels:
        return [item for item in seen.recalled if item.id in seen.labels[wanted]]
    return [item for item in seen.recalled if wanted in item.text]


def _quoted(wanted: Sequence[_Wanted]) -> str:
    return ", ".join(map(repr, wanted))


def _shown(items: Sequence[MemoryItem], seen: CheckedTurn) -> tuple[str, tuple[str, ...]]:
    """Return the number of items, and a line for each."""
    if not items:
        return _why_no_memories(seen), ()
    names = {key: name for name, ids in seen.labels.items() for key in ids}
    lines = [f"{names.get(item.id, item.id)}: {excerpt(item.text)}" for item in items[:_MAX_SHOWN]]
    more = [f"and {len(items) - _MAX_SHOWN} more"] if len(items) > _MAX_SHOWN else []
    return f"{len(items)} {'memory' if len(items) == 1 else 'memories'}", (*lines, *more)


def _why_no_memories(seen: CheckedTurn) -> str:
    recall = seen.reply.trace.recall
    if recall is None:
        return "none: memory was not queried"
    if recall.skipped and not recall.found:
        return f"none: {recall.skipped}"
    if recall.found:
        return f"none of {len(recall.found)} matches: {_LEFT_OUT}"
    return "none: no memory matched"


def _track(names: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    if seen.reply.track in names:
        return None
    expected = f"a reply of track {listed(names, 'or')}"
    return Failure("track", expected, f"a reply of track {seen.reply.track!r}")


def _policy(names: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    if seen.reply.trace.policy in names:
        return None
    expected = f"a turn under policy {listed(names, 'or')}"
    return Failure("policy", expected, f"a turn under policy {seen.reply.trace.policy!r}")


def _in_order(steps: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    """Require the events `steps` in this order, with others allowed in between."""
    remaining = iter(seen.events)
    for number, step in enumerate(steps):
        if not any(_is_step(event, step) for event in remaining):
            after = f" after {steps[number - 1]!r}" if number else ""
            actual = " → ".join(map(_event_name, _without_repeats(seen.events)))
            return Failure("events", f"the event {step!r}{after}", actual or "no events")
    return None


def _is_step(event: Event, step: str) -> bool:
    name, _, track = step.partition(" ")
    return type(event).__name__ == name and track in ("", getattr(event, "track", ""))


def _event_name(event: Event) -> str:
    return f"{type(event).__name__} {getattr(event, 'track', '')}".rstrip()


def _without_repeats(all_events: tuple[Event, ...]) -> list[Event]:
    return [
        event
        for before, event in zip((None, *all_events), all_events, strict=False)
        if type(event) is not type(before) or not isinstance(event, TextDelta | ReasoningDelta)
    ]


def _error(wanted: tuple[str, ...], seen: CheckedTurn) -> Failure:
    """Fail: this turn has a reply. The runner judges turns that raised an error."""
    expected = f"an error that contains {listed(wanted, 'and')}"
    return Failure("error", expected, f"the reply {excerpt(seen.reply.text)}")


def _max_seconds(limit_s: float, seen: CheckedTurn) -> Failure | None:
    duration_s = seen.reply.timings.duration_s
    if duration_s <= limit_s:
        return None
    return Failure("max_seconds", f"a reply within {limit_s:g} s", f"{duration_s:.2f} s")


def _max_first_content(limit_ms: float, seen: CheckedTurn) -> Failure | None:
    first_s = seen.reply.timings.first_content_s
    if first_s is not None and first_s * 1000 <= limit_ms:
        return None
    actual = "no text" if first_s is None else f"{first_s * 1000:.0f} ms"
    return Failure("max_first_content_ms", f"the first text within {limit_ms:g} ms", actual)


def _max_cost(limit_usd: float, seen: CheckedTurn) -> Failure | None:
    cost_usd = seen.reply.cost_usd
    if cost_usd <= limit_usd:
        return None
    return Failure("max_cost_usd", f"a turn for at most ${limit_usd:g}", f"${cost_usd:g}")


def _max_tokens(limit: int, seen: CheckedTurn) -> Failure | None:
    usage = seen.reply.usage
    if usage and usage.output_tokens <= limit:
        return None
    actual = "an unknown number" if usage is None else f"{usage.output_tokens}"
    return Failure("max_tokens", f"at most {limit} tokens", actual)


MEMORY_EXPECTATIONS = (
    Expectation(
        "recalled", "memories that must be shown: a fixture's name, or text", _Memories, _recalled
    ),
    Expectation(
        "not_recalled", "memories that must not be shown, likewise", _Memories, _not_recalled
    ),
)
ANSWER_EXPECTATIONS = (
    Expectation("track", "the track, or one of several, that answers", Texts, _track),
    Expectation(
        "policy", "the policy, or one of several, that the turn runs under", Texts, _policy
    ),
    Expectation("events", "events in a required order: `Takeover local`", _Steps, _in_order),
    Expectation("error", "text of the error that the turn must end in", Texts, _error),
)
LIMIT_EXPECTATIONS = (
    Expectation("max_seconds", "the longest duration of the turn, in s", Positive, _max_seconds),
    Expectation(
        "max_first_content_ms", "the longest time to the first text, in ms", Positive,
        _max_first_content,
    ),
    Expectation("max_cost_usd", "the highest cost of the turn, in USD", NotNegative, _max_cost),
    Expectation("max_tokens", "the most tokens of the reply", _Count, _max_tokens),
)  # fmt: skip
