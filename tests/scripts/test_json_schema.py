"""The published schema accepts and refuses the same scripts as the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.scripts.test_format import FULL
from vanta.expectations import Expectation
from vanta_scripts import BUILTIN, script_schema

ROOT = Path(__file__).parents[2]
SCRIPTS = [*ROOT.glob("examples/*.yaml"), *ROOT.glob("tests/scripts/suite/**/*.yaml")]


def refused(data: Any, schema: dict[str, Any] | None = None) -> bool:
    return not jsonschema.Draft202012Validator(schema or script_schema()).is_valid(data)


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(script_schema())
    json.dumps(script_schema())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_of_the_project_is_valid_under_it(path: Path) -> None:
    assert not refused(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_every_field_is_valid_under_it() -> None:
    assert not refused(yaml.safe_load(FULL.replace("7: -1.5", "'7': -1.5")))


@pytest.mark.parametrize(
    "text",
    [
        "name: n",
        "name: n\nturns: []",
        "name: n\ntunrs: []\nturns: [{say: a}]",
        "name: n\nturns: [{say: a, expect: {contians: a}}]",
        "name: n\nturns: [{say: a, expect: {max_seconds: fast}}]",
        "name: n\nturns: [{say: a, upstream: refuze}]",
        "name: n\nturns: [{say: a, expect: {judge: {question: a}}}]",
    ],
)
def test_a_script_that_the_reader_refuses_is_not_valid(text: str) -> None:
    assert refused(yaml.safe_load(text))


def test_every_field_and_expectation_is_described() -> None:
    schema = script_schema()
    expect = schema["$defs"]["TurnForm"]["properties"]["expect"]["properties"]
    assert list(expect) == list(BUILTIN)
    fields = [*schema["properties"].values(), *schema["$defs"]["TurnForm"]["properties"].values()]
    assert all(field.get("description") for field in (*fields, *expect.values()))


def test_it_contains_the_expectations_of_plugins() -> None:
    words = Expectation("max_words", "words at the most", int, lambda _value, _seen: None)
    schema = script_schema({**BUILTIN, "max_words": words})
    script = {"name": "n", "turns": [{"say": "a", "expect": {"max_words": "many"}}]}
    assert refused(script, schema)
    script["turns"][0]["expect"]["max_words"] = 3  # type: ignore[index]
    assert not refused(script, schema)
