"""The arguments of calls: read from a model's text, checked under a schema, made canonical.

Invariants: whatever a model writes, the outcome is a dictionary that is valid under the schema, or
a `ToolError` that names each mistake in words that the model can act on. No schema fetches
anything, and no pattern takes more than linear time: a schema may come from a stranger's server.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

from vanta.errors import ToolError, did_you_mean
from vanta.text import well_formed, well_formed_data

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_ARGUMENT_CHARACTERS = 1_000_000
"""Characters that the arguments of one call may have."""

MAX_SCHEMA_CHARACTERS = 100_000
"""Characters that the schema of one tool may have as JSON."""

_MAX_DEPTH = 64
_MAX_REFERENCES = 20_000
_DEEPEST_REFERENCE = 64
_SHOWN_PROBLEMS = 3
_SEARCHED_PROBLEMS = 20
_SHOWN_CHARACTERS = 300
_LONG_ARRAY = 1000

_references: ContextVar[list[int]] = ContextVar("references")
"""How many references the running check may still follow: few can refer to each other so that
following them all takes exponential time."""


def read_arguments(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a model wrote.

    :param text: the JSON text of the call; "" stands for no arguments.
    :param schema: the tool's schema.
    :raises ToolError: if the text is not a JSON object or does not fit the schema.
    """
    value = _parsed(text) if text.strip() else {}
    check_arguments(value, schema)
    return dict(value)


def check_arguments(value: object, schema: Mapping[str, Any]) -> None:
    """Check arguments under a tool's schema.

    :param value: the arguments.
    :param schema: the tool's schema.
    :raises ToolError: if they do not fit; the message names the first mistakes.
    """
    if not isinstance(value, dict):
        raise ToolError(f"the arguments must be a JSON object, not {_kind(value)}")
    problems = _problems(value, schema)
    if problems:
        shown = "; ".join(_in_words(item, schema) for item in problems[:_SHOWN_PROBLEMS])
        raise ToolError(f"the arguments do not fit the schema of the tool: {shown}. Correct them.")


def schema_mistakes(
    value: Any, schema: Mapping[str, Any]
) -> list[tuple[tuple[str | int, ...], str, str]]:
    """Return what is wrong with a value under the schema of an object.

    :param value: a JSON value.
    :param schema: a schema for which `schema_problem` returns None.
    :returns: the place of each mistake, the keyword of the schema, and words that may quote the
        value.
    :raises ToolError: if the schema cannot be applied.
    """
    return [
        (tuple(item.absolute_path), str(item.validator or "schema"), _cut(item.message))
        for item in _problems(value, schema)
    ]


def _problems(value: Any, schema: Mapping[str, Any]) -> list[Any]:
    """Return the errors of a value under a schema. Raises ToolError if it cannot be applied."""
    _references.set([_MAX_REFERENCES, 0])
    try:
        return list(
            itertools.islice(
                _validator(_schema_text(schema)).iter_errors(value), _SEARCHED_PROBLEMS
            )
        )
    except ToolError:
        raise
    except Exception as error:
        raise ToolError(f"the schema of the tool cannot be applied: {_cut(str(error))}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what compiled parts raise when they give up
            raise
        raise ToolError(
            "the schema of the tool cannot be applied: it is nested too deep"
        ) from error


def canonical(arguments: Mapping[str, Any]) -> str:
    """Return arguments as the one JSON text that stands for them: sorted keys, no white space.

    A number stays as JSON has it: 1 and 1.0 are different arguments.

    :param arguments: arguments of a call.
    :raises ToolError: if they are not JSON, such as NaN, or are nested too deeply.
    """
    try:
        text = json.dumps(
            arguments,
            sort_keys=True,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the arguments are not JSON: {_cut(str(error))}") from error
    return well_formed(text)


def schema_problem(schema: object) -> str | None:
    """Return why a schema cannot be the schema of a tool's arguments, or None.

    :param schema: the schema, as a tool declares it.
    """
    if not isinstance(schema, Mapping):
        return f"its schema must be a mapping, not {type(schema).__name__}"
    try:
        _validator(_schema_text(schema))
    except ToolError as error:
        return str(error)
    return None


def _schema_text(schema: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(schema, allow_nan=False, default=_plain_mapping)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the schema of the tool is not JSON: {_cut(str(error))}") from error
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise ToolError(
            f"the schema of the tool has {len(text)} characters, more than {MAX_SCHEMA_CHARACTERS}"
        )
    return text


def _plain_mapping(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


@functools.lru_cache(maxsize=1024)
def _validator(schema_text: str) -> Validator:
    """Return the validator of a schema. Raises ToolError for one that is not valid."""
    import jsonschema
    from jsonschema.validators import validator_for
    from referencing import Registry as ReferenceRegistry

    schema = json.loads(schema_text)
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ToolError('the schema of the tool is not an object\'s: it needs "type": "object"')
    if elsewhere := next(_references_elsewhere(schema), None):
        raise ToolError(
            f"the schema of the tool refers to {elsewhere!r}, which is not fetched: put it "
            "under $defs"
        )
    base = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        base.check_schema(schema)
    except Exception as error:
        reason = getattr(error, "message", None) or str(error)
        raise ToolError(f"the schema of the tool is not valid: {_cut(reason)}") from error
    keywords = {**_LINEAR, **{name: _counted(check) for name, check in _following(base)}}
    if '"patternProperties"' in schema_text:
        keywords["unevaluatedProperties"] = _unchecked  # it would match the patterns in its own way
    made: Any = jsonschema.validators.extend(base, keywords)  # type: ignore[no-untyped-call]
    validator: Validator = made(schema, registry=ReferenceRegistry())
    return validator


def _references_elsewhere(schema: Any) -> Iterator[str]:
    """Yield the references of a schema that lead out of it."""
    waiting = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                target = item.get(key)
                if isinstance(target, str) and not target.startswith("#"):
                    yield target
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


Keyword = Callable[[Any, Any, Any, Any], Iterator[Any]]


def _following(base: Any) -> list[tuple[str, Keyword]]:
    names = ("$ref", "$dynamicRef", "$recursiveRef")
    return [(name, base.VALIDATORS[name]) for name in names if name in base.VALIDATORS]


def _counted(check: Keyword) -> Keyword:
    """Return a keyword that follows a reference, with a bound on how many are followed."""

    def counted(validator: Any, reference: Any, value: Any, schema: Any) -> Iterator[Any]:
        state = _references.get()
        state[0] -= 1
        if state[0] < 0:
            raise ToolError(
                f"the schema of the tool follows more than {_MAX_REFERENCES} references"
            )
        if state[1] >= _DEEPEST_REFERENCE:
            raise ToolError(
                "the schema of the tool cannot be applied: its references lead more than "
                f"{_DEEPEST_REFERENCE} deep"
            )
        state[1] += 1
        try:
            yield from check(validator, reference, value, schema)
        finally:
            state[1] -= 1

    return counted


def _unchecked(_validator: Any, _keyword: Any, _value: Any, _schema: Any) -> Iterator[Any]:
    yield from ()


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield _error(f"{_cut(repr(value))} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for pattern, below in patterns.items():
            for name, item in value.items():
                if _matches(pattern, name):
                    yield from validator.descend(item, below, path=name, schema_path=pattern)


def _additional(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [
        name
        for name in value
        if name not in known and not any(_matches(pattern, name) for pattern in patterns)
    ]
    if isinstance(allowed, dict):
        for name in extra:
            yield from validator.descend(value[name], allowed, path=name)
    elif not allowed and extra:
        yield _error(
            f"no argument is named {_cut(repr(extra[0]))}. {did_you_mean(extra[0], known)}"
        )


def _unique(validator: Any, required: Any, value: Any, schema: Any) -> Iterator[Any]:
    """Compare the items of a long array by their JSON texts: in linear time."""
    if not required or not isinstance(value, list):
        return
    if len(value) <= _LONG_ARRAY:
        import jsonschema

        yield from jsonschema.Draft202012Validator.VALIDATORS["uniqueItems"](
            validator, required, value, schema
        )
    elif len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
        yield _error("it has equal items")


_LINEAR: dict[str, Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "uniqueItems": _unique,
}
"""Keywords that the library checks with regular expressions that can take exponential time, or in
quadratic time."""


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text. A pattern that needs backtracking is not
    checked: the tool checks its own arguments."""
    check = _expression(pattern)
    return check is None or check(text)


@functools.lru_cache(maxsize=1024)
def _expression(pattern: str) -> Callable[[str], bool] | None:
    """Compile a pattern with the engine of pydantic, which takes linear time."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        compiled = SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        return None
    return compiled.isinstance_python


def _parsed(text: str) -> Any:
    if len(text) > MAX_ARGUMENT_CHARACTERS:
        raise ToolError(
            f"the arguments have {len(text)} characters, more than {MAX_ARGUMENT_CHARACTERS}"
        )
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        near = _cut(text[max(0, error.pos - 20) : error.pos + 20])
        raise ToolError(
            f"the arguments are not JSON: {error.msg} at character {error.pos}, near {near!r}. "
            "Write one JSON object."
        ) from None
    except ValueError as error:
        raise ToolError(
            f"the arguments are not JSON: {_cut(str(error).partition(';')[0])}"
        ) from None
    except (RecursionError, MemoryError):
        raise ToolError("the arguments are nested too deeply") from None
    if _depth_exceeds(value, _MAX_DEPTH):
        raise ToolError(f"the arguments are nested more than {_MAX_DEPTH} deep")
    return well_formed_data(value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. A name that occurs twice is an error: readers differ in which one counts."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the name {_cut(twice)!r} twice")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return True


def _in_words(problem: Any, schema: Mapping[str, Any]) -> str:
    """Return one mistake with its place, and the nearest name if an argument is misspelt."""
    place = _place(problem.absolute_path)
    message = _cut(re.sub(r" is a required property$", " is missing", problem.message))
    return f"{place}: {message}" if place else message


def _place(path: Any) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return _cut(text)


def _kind(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "a truth value", int: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
