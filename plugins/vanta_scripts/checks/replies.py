"""Expectations on a reply's words and structure.

The words: `contains`, `not_contains`, `equals`, `regex`; the structure: `json_schema`. Python's
regular expressions backtrack, and hold the interpreter while they do. A pattern that could take
long is matched in a child process, which is killed at its time limit; a pattern with hardly any
repetition on a short text is matched here.

Invariant: comparisons are exact, case included (`equals` ignores surrounding white space), and no
match blocks the event loop. A schema is validated when the script is loaded and refers to nothing
outside itself, so no check uses the network.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import anyio
from pydantic import AfterValidator, Field

from vanta import CheckedTurn, Expectation, Failure, install_hint
from vanta.files import parse_json
from vanta.language import find_folded
from vanta_scripts.checks.values import ONE_OR_MANY, Text, Texts, excerpt, listed

MATCH_LIMIT_S = 5.0
_DIFF_FROM_CHARS = 60
_SHORT_TEXT = 1000
_REPETITION = re.compile(r"[*+{]")
_OPTIONAL = re.compile(r"(?<!\()\?")
_MATCHER = (
    "import json, re, sys\n"
    "patterns, text = json.load(sys.stdin)\n"
    "json.dump([p for p in patterns if not re.search(p, text)], sys.stdout)\n"
)


class PatternTimeout(Exception):  # noqa: N818 - internal to this module
    """A pattern was not decided within its time limit."""


def valid_pattern(pattern: str) -> str:
    """Return a pattern that is a regular expression. Raises ValueError for another text."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


_Patterns = Annotated[
    tuple[Annotated[Text, AfterValidator(valid_pattern)], ...], ONE_OR_MANY, Field(min_length=1)
]


def _contains(wanted: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    text = seen.reply.text
    missing = [part for part in wanted if part not in text]
    if not missing:
        return None
    expected = f"a reply that contains {listed(missing, 'and')}"
    other_case = find_folded(text, missing[0])
    if other_case < 0:
        return Failure("contains", expected, excerpt(text))
    actual = excerpt(text, (other_case, other_case))
    return Failure("contains", expected, f"{actual}, which has it in another case or spelling")


def _not_contains(unwanted: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    text = seen.reply.text
    present = [part for part in unwanted if part in text]
    if not present:
        return None
    at = text.index(present[0])
    expected = f"a reply without {listed(present, 'and')}"
    return Failure("not_contains", expected, excerpt(text, (at, at + len(present[0]))))


def _equals(wanted: str, seen: CheckedTurn) -> Failure | None:
    text, wanted = seen.reply.text.strip(), wanted.strip()
    if text == wanted:
        return None
    diff: tuple[str, ...] = ()
    if max(len(text), len(wanted)) > _DIFF_FROM_CHARS or "\n" in text + wanted:
        lines = difflib.ndiff(wanted.splitlines(), text.splitlines())
        diff = tuple(line.rstrip("\n") for line in lines)
    return Failure("equals", f"the reply {excerpt(wanted)}", excerpt(text), diff)


async def _matches(wanted: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    try:
        missing = await unmatched(wanted, seen.reply.text)
    except PatternTimeout:
        expected = f"a verdict on {listed(wanted, 'and')} within {MATCH_LIMIT_S:g} s"
        return Failure("regex", expected, "none: the pattern backtracks too much. Simplify it.")
    if not missing:
        return None
    expected = f"a reply that matches {listed(missing, 'and')}"
    return Failure("regex", expected, excerpt(seen.reply.text))


async def unmatched(patterns: Sequence[str], text: str) -> list[str]:
    """Return the patterns without a match in a text.

    :param patterns: the patterns, searched anywhere in it.
    :param text: the text.
    :raises PatternTimeout: if they are not decided within the limit.
    """
    if len(text) <= _SHORT_TEXT and not any(map(_could_take_long, patterns)):
        return [pattern for pattern in patterns if not re.search(pattern, text)]
    with anyio.move_on_after(MATCH_LIMIT_S):
        done = await anyio.run_process(
            [sys.executable, "-I", "-S", "-c", _MATCHER],
            input=json.dumps([patterns, text]).encode(),
        )
        missing: list[str] = json.loads(done.stdout)
        return missing
    raise PatternTimeout


def _could_take_long(pattern: str) -> bool:
    """Return whether a pattern has several repetitions or optional parts.

    Too careful, never wrong: without them the steps are at most a small multiple of the square of
    the text's length.
    """
    return len(_REPETITION.findall(pattern)) > 1 or len(_OPTIONAL.findall(pattern)) > 3


def _valid_schema(value: dict[str, Any]) -> dict[str, Any]:
    outside = [ref for ref in _references(value) if not str(ref).startswith("#")]
    if outside:
        raise ValueError(
            f"'$ref' {outside[0]!r} points outside the schema. Copy its target to '$defs'"
        )
    try:
        from jsonschema import exceptions, validators
    except ModuleNotFoundError:
        raise ValueError(f"it needs the library jsonschema: {install_hint('schema')}") from None
    try:
        validators.validator_for(value).check_schema(value)
    except exceptions.SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from error
    return value


def _references(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (value[key] for key in ("$ref", "$dynamicRef") if key in value)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _references(part)


def _valid_under_schema(schema: dict[str, Any], seen: CheckedTurn) -> Failure | None:
    from jsonschema import validators

    text = seen.reply.text
    try:
        data = parse_json(text)
    except ValueError as error:
        return Failure("json_schema", "a reply that is JSON", f"{excerpt(text)} ({error})")
    validator = validators.validator_for(schema)(schema)
    errors = sorted(validator.iter_errors(data), key=lambda error: list(map(str, error.path)))
    if not errors:
        return None
    where = "/".join(map(str, errors[0].path))
    place = f" at {where!r}" if where else ""
    more = f", and {len(errors) - 1} more" if errors[1:] else ""
    actual = f"{errors[0].message}{place}{more}"
    return Failure("json_schema", "a reply that is valid under the schema", actual)


WORD_EXPECTATIONS = (
    Expectation("contains", "text that the reply contains, case included", Texts, _contains),
    Expectation("not_contains", "text that the reply does not contain", Texts, _not_contains),
    Expectation("equals", "the whole reply, except for surrounding white space", Text, _equals),
    Expectation("regex", "a pattern that matches somewhere in the reply", _Patterns, _matches),
)
SCHEMA_EXPECTATIONS = (
    Expectation(
        "json_schema",
        "a JSON Schema under which the reply is valid",
        Annotated[dict[str, Any], AfterValidator(_valid_schema)],
        _valid_under_schema,
    ),
)
