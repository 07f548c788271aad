"""The page on scripts is true: its scripts load, and its tables are complete."""

from __future__ import annotations

from tests.docs.pages import blocks, first_column, page
from vanta_scripts import BUILTIN, parse_script
from vanta_scripts.schema import (
    DocumentForm,
    MatrixForm,
    MemoryForm,
    ScriptForm,
    TurnForm,
    UpstreamForm,
)

PAGE = page("docs/scripts.md")


def test_the_scripts_load() -> None:
    scripts = blocks(PAGE, "yaml")
    assert [parse_script(script).name for script in scripts] == ["capitals", "letters", "memory"]


def test_every_expectation_is_explained() -> None:
    assert first_column(PAGE.partition("## Expectations")[2].partition("## ")[0]) == set(BUILTIN)


def test_every_explained_field_exists() -> None:
    fields = {
        name
        for form in (ScriptForm, TurnForm, MatrixForm, UpstreamForm)
        for name in form.model_fields
    }
    assert first_column(PAGE.partition("## The file")[2].partition("## ")[0]) <= fields


def test_every_field_of_fixtures_is_named() -> None:
    memory = PAGE.partition("## Memory")[2].partition("## ")[0]
    fields = {*MemoryForm.model_fields, *DocumentForm.model_fields}
    assert {field for field in fields if f"`{field}`" not in memory} == set()


def test_every_fault_is_named() -> None:
    faults = UpstreamForm.model_json_schema()["properties"]["fault"]["enum"]
    assert all(f"`{fault}`" in PAGE for fault in faults if fault != "none")
