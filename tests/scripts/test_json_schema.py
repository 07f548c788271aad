"""The published schema takes what the reader takes, and refuses what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.scripts.test_format import FULL
from vanta_scripts import BUILTIN, Expectation, script_schema

ROOT = Path(__file__).parents[2]
SCRIPTS = [*ROOT.glob("examples/*.yaml"), *ROOT.glob("tests/scripts/suite/**/*.yaml")]


def refused(data: Any, schema: dict[str, Any] | None = None) -> bool:
    return not jsonschema.Draft202012Validator(schema or script_schema()).is_valid(data)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(script_schema())
    json.dumps(script_schema())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_of_the_project_fits_it(path: Path) -> None:
    assert not refused(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_every_field_fits_it() -> None:
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
def test_what_the_reader_refuses_does_not_fit(text: str) -> None:
    assert refused(yaml.safe_load(text))


def test_everything_is_described() -> None:
    schema = script_schema()
    expect = schema["$defs"]["TurnForm"]["properties"]["expect"]["properties"]
    assert list(expect) == list(BUILTIN)
    fields = [*schema["properties"].values(), *schema["$defs"]["TurnForm"]["properties"].values()]
    assert all(one.get("description") for one in (*fields, *expect.values()))


def test_a_plugins_expectation_is_in_it() -> None:
    words = Expectation("max_words", "words at the most", int, lambda _value, _seen: None)
    schema = script_schema({**BUILTIN, "max_words": words})
    script = {"name": "n", "turns": [{"say": "a", "expect": {"max_words": "many"}}]}
    assert refused(script, schema)
    script["turns"][0]["expect"]["max_words"] = 3  # type: ignore[index]
    assert not refused(script, schema)
