"""Expectations: what a script can ask of a reply.

An expectation has a name (the key under a turn's `expect`), a type that its value is checked
against when the script is loaded, and a check. Plugins bring more with `vanta_expectations`.
Invariant: a check looks and does not touch; it says what was expected and what came.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

if TYPE_CHECKING:
    from vanta.events import Reply
    from vanta.plugins import PluginSet

_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that did not hold: its name, what was expected, what came instead."""

    expectation: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"expected {self.expected}; came {self.came}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check may look at: what was said and the reply to it."""

    say: str
    reply: Reply


Check = Callable[[Any, Seen], Failure | Awaitable[Failure | None] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """Something that a script can ask of a reply.

    name: the key under `expect`. summary: one line for a person. value: the type of what the
    script gives, anything that `pydantic.TypeAdapter` takes; it is checked strictly (a number is no
    text) and the check gets what comes out of it. check: given that value and what was seen,
    None if it holds, else a Failure; sync or async.
    """

    name: str
    summary: str
    value: Any
    check: Check


def known_expectations(plugins: PluginSet | None = None) -> Mapping[str, Expectation]:
    """The built-in expectations and those of `plugins`, by name.

    Raises PluginError if a plugin claims a built-in name.
    """
    if plugins is None:
        return BUILTIN
    plugins.expectations.refuse(BUILTIN)
    return {**BUILTIN, **plugins.expectations}


def excerpt(text: str, around: tuple[int, int] = (0, 0)) -> str:
    """`text` quoted, cut to a length that a person reads; `around` is the part that matters."""
    if not text.strip():
        return "an empty reply" if not text else f"nothing but white space ({text[:20]!r})"
    begin = max(0, min(around[0] - _EXCERPT // 4, len(text) - _EXCERPT))
    part = text[begin : begin + _EXCERPT]
    cut = f"{'…' if begin else ''}{part}{'…' if begin + _EXCERPT < len(text) else ''}"
    return repr(cut)


def _many(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


_Text = Annotated[str, Field(min_length=1)]
_Texts = Annotated[tuple[_Text, ...], BeforeValidator(_many), Field(min_length=1)]
_Patterns = Annotated[
    tuple[Annotated[_Text, AfterValidator(_regex)], ...],
    BeforeValidator(_many),
    Field(min_length=1),
]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _contains(wanted: tuple[str, ...], seen: Seen) -> Failure | None:
    text = seen.reply.text
    missing = [part for part in wanted if part not in text]
    if not missing:
        return None
    expected = f"a reply that contains {_listed(missing, 'and')}"
    other_case = text.casefold().find(missing[0].casefold())
    if other_case < 0:
        return Failure("contains", expected, excerpt(text))
    came = excerpt(text, (other_case, other_case))
    return Failure("contains", expected, f"{came}, which has it in another case")


def _not_contains(unwanted: tuple[str, ...], seen: Seen) -> Failure | None:
    text = seen.reply.text
    found = [part for part in unwanted if part in text]
    if not found:
        return None
    at = text.index(found[0])
    expected = f"a reply without {_listed(found, 'and')}"
    return Failure("not_contains", expected, excerpt(text, (at, at + len(found[0]))))


def _matches(patterns: tuple[str, ...], seen: Seen) -> Failure | None:
    missing = [pattern for pattern in patterns if not re.search(pattern, seen.reply.text)]
    if not missing:
        return None
    expected = f"a reply that matches {_listed(missing, 'and')}"
    return Failure("regex", expected, excerpt(seen.reply.text))


def _track(names: tuple[str, ...], seen: Seen) -> Failure | None:
    if seen.reply.track in names:
        return None
    expected = f"the reply of track {_listed(names, 'or')}"
    return Failure("track", expected, f"that of track {seen.reply.track!r}")


def _max_seconds(limit_s: float, seen: Seen) -> Failure | None:
    took_s = seen.reply.timings.duration_s
    if took_s <= limit_s:
        return None
    return Failure("max_seconds", f"a reply within {limit_s:g} s", f"one after {took_s:.2f} s")


def _listed(values: list[str] | tuple[str, ...], last: str) -> str:
    quoted = [repr(value) for value in values]
    return f" {last} ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


BUILTIN: Mapping[str, Expectation] = {
    expectation.name: expectation
    for expectation in (
        Expectation("contains", "text that the reply has, to the letter", _Texts, _contains),
        Expectation("not_contains", "text that the reply has not", _Texts, _not_contains),
        Expectation("regex", "a pattern found somewhere in the reply", _Patterns, _matches),
        Expectation("track", "the track, or one of several, that answers", _Texts, _track),
        Expectation("max_seconds", "seconds that the turn may take", _Seconds, _max_seconds),
    )
}
