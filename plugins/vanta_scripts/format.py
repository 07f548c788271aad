"""Reads script files: YAML, and JSON where the name ends in `.json`.

Invariant: whatever a file holds, the result is a `Script` or one ScriptError that names every
fault with file, line, column and what would have been right, and nothing outside the file is read.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from vanta.engine import Tool
from vanta.errors import ScriptError, did_you_mean
from vanta.expectations import Expectation
from vanta.text import DocumentError, Node, Place, read_marked
from vanta_scripts.checks import BUILTIN
from vanta_scripts.contradictions import contradictions
from vanta_scripts.faults import Fault, faults_of
from vanta_scripts.model import (
    Call,
    DocumentFixture,
    Fixtures,
    Matrix,
    MemoryFixture,
    Script,
    ScriptTurn,
    UpstreamPlan,
)
from vanta_scripts.schema import (
    DocumentForm,
    FixturesForm,
    MatrixForm,
    MemoryForm,
    ScriptForm,
    TurnForm,
    UpstreamForm,
)

_MAX_BYTES = 1_000_000
_MAX_FAULTS = 10


def load_script(path: str | Path, expectations: Mapping[str, Expectation] = BUILTIN) -> Script:
    """The script in the file at `path`. Blocking.

    expectations: what may stand under `expect`, see `known_expectations`. Raises ScriptError.
    """
    path = Path(path)
    syntax: Literal["yaml", "json"] = "json" if path.suffix.lower() == ".json" else "yaml"
    return parse_script(_text(path), source=str(path), syntax=syntax, expectations=expectations)


def parse_script(
    text: str,
    *,
    source: str = "<text>",
    syntax: Literal["yaml", "json"] = "yaml",
    expectations: Mapping[str, Expectation] = BUILTIN,
) -> Script:
    """The script that `text` is; `source` stands for the file in messages. Raises ScriptError."""
    try:
        node = read_marked(text, syntax=syntax)
    except DocumentError as error:
        raise ScriptError(_located(source, error.place, error.reason)) from error
    form, faults = _validated(node, expectations)
    expected, more = _expected(node, expectations)
    faults += more + (contradictions(form) if form else [])
    if faults or form is None:
        raise ScriptError(_told(source, node, faults))
    return _script(form, expected, node, source)


def _validated(
    node: Node, expectations: Mapping[str, Expectation]
) -> tuple[ScriptForm | None, list[Fault]]:
    try:
        # As JSON, for pydantic's strict mode then takes a list for a tuple and nothing more.
        return ScriptForm.model_validate_json(json.dumps(node.value)), []
    except ValidationError as error:
        return None, faults_of(error, (), expectations)


def _expected(
    node: Node, expectations: Mapping[str, Expectation]
) -> tuple[list[dict[str, Any]], list[Fault]]:
    """For each turn what it expects, checked; and what is wrong with that."""
    checked: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for at, values in _expects(node.value):
        checked.append({})
        for name, value in values.items():
            path = (*at, name)
            if name not in expectations:
                problem = f"unknown expectation {name!r} in turn {int(at[1]) + 1}."
                faults.append(Fault(path, f"{problem} {did_you_mean(name, expectations)}", True))
                continue
            try:
                checked[-1][name] = _check_value(expectations[name], value)
            except ValidationError as error:
                whole = not isinstance(value, list | dict)
                faults += faults_of(error, path, expectations, whole=whole)
    return checked, faults


def _expects(data: Any) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    turns = data.get("turns") if isinstance(data, dict) else None
    for index, turn in enumerate(turns if isinstance(turns, list) else ()):
        expect = turn.get("expect") if isinstance(turn, dict) else None
        yield ("turns", index, "expect"), expect if isinstance(expect, dict) else {}


def _check_value(expectation: Expectation, value: Any) -> Any:
    return _adapter(expectation).validate_json(json.dumps(value), strict=True)


@functools.lru_cache(maxsize=256)
def _adapter(expectation: Expectation) -> TypeAdapter[Any]:
    # Making one takes ten times as long as using it.
    return TypeAdapter(expectation.value)


def _script(form: ScriptForm, expected: list[dict[str, Any]], node: Node, source: str) -> Script:
    turns = tuple(
        _turn(turn, expect, node.place_of(("turns", index)).line)
        for index, (turn, expect) in enumerate(zip(form.turns, expected, strict=True))
    )
    fields = _fields(form) | {
        "turns": turns,
        "tags": tuple(form.tags),
        "upstream": _upstream(form.upstream),
        "matrix": _matrix(form.matrix),
        "fixtures": _fixtures(form.fixtures),
        "tools": tuple(Tool(**_fields(tool)) for tool in form.tools),
        "at": form.begins_at,
        "source": source,
    }
    if form.seed is not None:
        fields["sampling"] = dataclasses.replace(form.sampling, seed=form.seed)
    return Script(**fields)


def _turn(form: TurnForm, expect: Mapping[str, Any], line: int) -> ScriptTurn:
    own = {"expect": expect, "upstream": _upstream(form.upstream), "line": line}
    return ScriptTurn(**_fields(form) | own)


def _upstream(form: UpstreamForm | None) -> UpstreamPlan | None:
    if form is None:
        return None
    call = Call(**_fields(form.call)) if form.call else None
    return UpstreamPlan(**_fields(form) | {"call": call})


def _fixtures(form: FixturesForm) -> Fixtures:
    def tagged(one: MemoryForm | DocumentForm) -> dict[str, Any]:
        return _fields(one) | {"tags": tuple(one.tags)}

    return Fixtures(
        tuple(MemoryFixture(**tagged(one)) for one in form.memories),
        tuple(DocumentFixture(**tagged(one)) for one in form.documents),
    )


def _matrix(form: MatrixForm) -> Matrix:
    return Matrix(**{axis: tuple(values) for axis, values in form if values is not None})


def _fields(form: BaseModel) -> dict[str, Any]:
    return {name: getattr(form, name) for name in type(form).model_fields}


def _told(source: str, node: Node, faults: list[Fault]) -> str:
    placed = [(node.place_of(fault.path, key=fault.at_key), fault) for fault in faults]
    placed.sort(key=lambda item: dataclasses.astuple(item[0]))
    lines = [_located(source, place, fault.problem) for place, fault in placed[:_MAX_FAULTS]]
    if len(placed) > _MAX_FAULTS:
        lines.append(f"{source}: and {len(placed) - _MAX_FAULTS} more.")
    return "\n".join(lines)


def _located(source: str, place: Place, problem: str) -> str:
    return f"{source}:{place.line}:{place.column}: {problem}"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ScriptError(f"{path}: cannot be read: {reason}. Check the path.") from error
    if len(data) > _MAX_BYTES:
        raise ScriptError(f"{path}: is larger than {_MAX_BYTES} bytes. Split it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        place = Place(line, column)
        raise ScriptError(_located(str(path), place, "is not UTF-8. Save it as UTF-8.")) from error
