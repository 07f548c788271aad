"""The format as a JSON Schema, so that editors complete and check scripts.

Invariant: made from the forms and the expectations that read scripts, so that the two cannot
differ; what a plugin brings is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from vanta.expectations import Expectation
from vanta_scripts.checks import BUILTIN
from vanta_scripts.schema import ScriptForm


def script_schema(expectations: Mapping[str, Expectation] = BUILTIN) -> dict[str, Any]:
    """The schema (draft 2020-12) of a script file."""
    schema = ScriptForm.model_json_schema()
    definitions = schema["$defs"]
    expect = {name: _of(expectation, definitions) for name, expectation in expectations.items()}
    definitions["TurnForm"]["properties"]["expect"] |= {
        "properties": expect,
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "vanta script",
    }


def _of(expectation: Expectation, definitions: dict[str, Any]) -> dict[str, Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(expectation.value)
    schema = adapter.json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return {**schema, "description": expectation.summary}
