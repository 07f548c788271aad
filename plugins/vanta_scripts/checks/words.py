"""Expectations on the words of a reply: contains, not_contains, equals, regex.

Invariant: they compare to the letter, case and all; `equals` alone leaves white space at the ends
out of it.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.checks import patterns
from vanta_scripts.checks.values import ONE_OR_MANY, Text, Texts
from vanta_scripts.expectations import excerpt, listed

_WITHOUT_DIFF = 60


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


_Patterns = Annotated[
    tuple[Annotated[Text, AfterValidator(_regex)], ...], ONE_OR_MANY, Field(min_length=1)
]


def _contains(wanted: tuple[str, ...], seen: Seen) -> Failure | None:
    text = seen.reply.text
    missing = [part for part in wanted if part not in text]
    if not missing:
        return None
    expected = f"a reply that contains {listed(missing, 'and')}"
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
    expected = f"a reply without {listed(found, 'and')}"
    return Failure("not_contains", expected, excerpt(text, (at, at + len(found[0]))))


def _equals(wanted: str, seen: Seen) -> Failure | None:
    text, wanted = seen.reply.text.strip(), wanted.strip()
    if text == wanted:
        return None
    diff: tuple[str, ...] = ()
    if max(len(text), len(wanted)) > _WITHOUT_DIFF or "\n" in text + wanted:
        lines = difflib.ndiff(wanted.splitlines(), text.splitlines())
        diff = tuple(line.rstrip("\n") for line in lines)
    return Failure("equals", f"the reply {excerpt(wanted)}", excerpt(text), diff)


async def _matches(wanted: tuple[str, ...], seen: Seen) -> Failure | None:
    try:
        missing = await patterns.unmatched(wanted, seen.reply.text)
    except patterns.PatternTimeout:
        expected = f"a verdict on {listed(wanted, 'and')} within {patterns.TIME_LIMIT_S:g} s"
        return Failure("regex", expected, "none: the pattern backtracks too much. Simplify it.")
    if not missing:
        return None
    expected = f"a reply that matches {listed(missing, 'and')}"
    return Failure("regex", expected, excerpt(seen.reply.text))


EXPECTATIONS = (
    Expectation("contains", "text that the reply has, to the letter", Texts, _contains),
    Expectation("not_contains", "text that the reply has not", Texts, _not_contains),
    Expectation("equals", "the whole reply, but for white space at its ends", Text, _equals),
    Expectation("regex", "a pattern found somewhere in the reply", _Patterns, _matches),
)
