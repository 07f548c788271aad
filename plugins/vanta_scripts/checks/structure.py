"""The expectation `json_schema`: the reply is JSON, and valid under a schema.

Invariant: a schema is checked when the script is loaded, and refers to nothing outside itself, so
that no check goes to the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

from vanta import install_hint
from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.expectations import excerpt


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    outside = [ref for ref in _references(value) if not str(ref).startswith("#")]
    if outside:
        raise ValueError(
            f"'$ref' {outside[0]!r} leads out of the schema: copy it in, under '$defs'"
        )
    try:
        from jsonschema import exceptions, validators
    except ModuleNotFoundError:
        raise ValueError(f"it needs the library jsonschema: {install_hint('schema')}") from None
    try:
        validators.validator_for(value).check_schema(value)
    except exceptions.SchemaError as error:
        raise ValueError(f"no JSON Schema: {error.message}") from error
    return value


def _references(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (value[key] for key in ("$ref", "$dynamicRef") if key in value)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _references(part)


def _valid(schema: dict[str, Any], seen: Seen) -> Failure | None:
    from jsonschema import validators

    text = seen.reply.text
    try:
        data = json.loads(text)
    except ValueError as error:
        return Failure("json_schema", "a reply that is JSON", f"{excerpt(text)} ({error})")
    validator = validators.validator_for(schema)(schema)
    errors = sorted(validator.iter_errors(data), key=lambda error: list(map(str, error.path)))
    if not errors:
        return None
    where = "/".join(map(str, errors[0].path))
    place = f" at {where!r}" if where else ""
    came = f"{errors[0].message}{place}" + (f", and {len(errors) - 1} more" if errors[1:] else "")
    return Failure("json_schema", "a reply that is valid under the schema", came)


EXPECTATIONS = (
    Expectation(
        "json_schema",
        "a JSON Schema under which the reply is valid",
        Annotated[dict[str, Any], AfterValidator(_schema)],
        _valid,
    ),
)
