"""Expectations on what memory brought: `recalled` and `not_recalled`.

What counts is what the track that answered was shown. Invariant: a name of the script's fixtures
stands for those; a number is an item's id; any other text is looked for in the items, to the
letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from vanta.expectations import Expectation, Failure, Seen
from vanta.memory import MemoryItem
from vanta_scripts.checks.values import Text, many
from vanta_scripts.expectations import excerpt

_MOST_TOLD = 8
_LEFT_OUT = "they are private, in the conversation already, or had no room"
_Wanted = int | Text
_Memories = Annotated[
    tuple[_Wanted, ...],
    BeforeValidator(many, json_schema_input_type=_Wanted | list[_Wanted]),
    Field(min_length=1),
]


def _recalled(wanted: tuple[_Wanted, ...], seen: Seen) -> Failure | None:
    missing = [one for one in wanted if not _matches(one, seen)]
    if not missing:
        return None
    expected = f"{_listed(missing)} among what memory showed to track {seen.reply.track!r}"
    return Failure("recalled", expected, *_told(seen.recalled, seen))


def _not_recalled(unwanted: tuple[_Wanted, ...], seen: Seen) -> Failure | None:
    shown = [one for one in unwanted if _matches(one, seen)]
    if not shown:
        return None
    found = {item.id: item for one in shown for item in _matches(one, seen)}
    expected = f"nothing of {_listed(shown)} in what memory showed to track {seen.reply.track!r}"
    return Failure("not_recalled", expected, *_told(tuple(found.values()), seen))


def _matches(wanted: _Wanted, seen: Seen) -> list[MemoryItem]:
    if isinstance(wanted, int):
        return [item for item in seen.recalled if item.id == wanted]
    if wanted in seen.labels:
        return [item for item in seen.recalled if item.id in seen.labels[wanted]]
    return [item for item in seen.recalled if wanted in item.text]


def _listed(wanted: Sequence[_Wanted]) -> str:
    return ", ".join(map(repr, wanted))


def _told(items: Sequence[MemoryItem], seen: Seen) -> tuple[str, tuple[str, ...]]:
    """What came, in a line, and the items below it."""
    if not items:
        return _why_nothing(seen), ()
    names = {key: name for name, ids in seen.labels.items() for key in ids}
    lines = [f"{names.get(item.id, item.id)}: {excerpt(item.text)}" for item in items[:_MOST_TOLD]]
    more = [f"and {len(items) - _MOST_TOLD} more"] if len(items) > _MOST_TOLD else []
    return f"{len(items)} {'memory' if len(items) == 1 else 'memories'}", (*lines, *more)


def _why_nothing(seen: Seen) -> str:
    recall = seen.reply.trace.recall
    if recall is None:
        return "nothing: memory was not asked"
    if recall.skipped and not recall.found:
        return f"nothing: {recall.skipped}"
    if recall.found:
        return f"nothing of the {len(recall.found)} found: {_LEFT_OUT}"
    return "nothing: it found none"


EXPECTATIONS = (
    Expectation(
        "recalled", "memories that must be shown: fixtures by name, or text", _Memories, _recalled
    ),
    Expectation(
        "not_recalled", "memories that must not be shown, likewise", _Memories, _not_recalled
    ),
)
