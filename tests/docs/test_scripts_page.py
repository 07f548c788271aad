"""The page on scripts is true."""

from __future__ import annotations

import re
from pathlib import Path

from vanta_scripts import BUILTIN, parse_script
from vanta_scripts.schema import (
    DocumentForm,
    MatrixForm,
    MemoryForm,
    ScriptForm,
    TurnForm,
    UpstreamForm,
)

PAGE = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text(encoding="utf-8")


def words_of(table: str) -> set[str]:
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)", row)}


def test_the_scripts_load() -> None:
    scripts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert [parse_script(script).name for script in scripts] == ["capitals", "memory"]


def test_every_expectation_is_explained() -> None:
    assert words_of(PAGE.partition("## Expectations")[2].partition("## ")[0]) == set(BUILTIN)


def test_every_field_that_is_explained_exists() -> None:
    fields = {
        name
        for form in (ScriptForm, TurnForm, MatrixForm, UpstreamForm)
        for name in form.model_fields
    }
    assert words_of(PAGE.partition("## The file")[2].partition("## ")[0]) <= fields


def test_every_field_of_fixtures_is_named() -> None:
    memory = PAGE.partition("## Memory")[2].partition("## ")[0]
    fields = {*MemoryForm.model_fields, *DocumentForm.model_fields}
    assert {field for field in fields if f"`{field}`" not in memory} == set()


def test_every_fault_is_named() -> None:
    faults = UpstreamForm.model_json_schema()["properties"]["fault"]["enum"]
    assert all(f"`{fault}`" in PAGE for fault in faults if fault != "none")
