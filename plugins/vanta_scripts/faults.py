"""What is wrong with a script, in words that name the right thing.

Invariant: a fault says what it is about by its place in the script ("turn 2", `'say'`), what came,
what is wanted and, for a name, the nearest one that exists.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vanta.engine import Sampling
from vanta.errors import did_you_mean
from vanta_scripts.schema import (
    CallForm,
    DocumentForm,
    FixturesForm,
    MatrixForm,
    MemoryForm,
    ScriptForm,
    ToolForm,
    TurnForm,
    UpstreamForm,
)

Path = tuple[str | int, ...]

_WANTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "dataclass_type": "a mapping",
    "int_parsing": "a whole number",
}
_FORMS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): ScriptForm,
    ("turns",): TurnForm,
    ("upstream",): UpstreamForm,
    ("upstream", "call"): CallForm,
    ("matrix",): MatrixForm,
    ("fixtures",): FixturesForm,
    ("fixtures", "memories"): MemoryForm,
    ("fixtures", "documents"): DocumentForm,
    ("tools",): ToolForm,
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: where (`at_key`: at the key that leads there), and what."""

    path: Path
    problem: str
    at_key: bool = False


def faults_of(
    error: ValidationError, at: Path, expectations: Iterable[str], *, whole: bool = False
) -> list[Fault]:
    """The faults in pydantic's report on the value at `at`.

    whole: they are faults of the value, which has no parts, even where the report numbers them (a
    single text is taken for a list of one).
    """
    faults = []
    for detail in error.errors(include_url=False):
        steps = [step for step in detail["loc"] if step != "[key]"]
        path = at if whole else (*at, *steps)
        faults.append(_fault(path, detail, expectations))
    return faults


def _fault(path: Path, detail: ErrorDetails, expectations: Iterable[str]) -> Fault:
    kind = detail["type"]
    if kind in _UNKNOWN:
        return _unknown(path, expectations)
    if kind == "missing":
        return Fault(path[:-1], f"{_where(path[:-1])} has no {path[-1]!r}. Add it.")
    if kind in _WANTED:
        return Fault(path, _mistyped(_what(path), _WANTED[kind], detail["input"]))
    if kind in ("too_short", "string_too_short"):
        return Fault(path, f"{_what(path)} is empty. Fill it in or leave it out.")
    if kind == "literal_error":
        return Fault(path, _no_such_word(_what(path), detail))
    return Fault(path, f"{_what(path)}: {_plain(detail)}")


def _no_such_word(what: str, detail: ErrorDetails) -> str:
    words = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    given = detail["input"]
    near = did_you_mean(given, words) if isinstance(given, str) else ""
    return f"{what} is {_shown(given)}; it has to be one of {', '.join(words)}. {near}".rstrip()


def _unknown(path: Path, expectations: Iterable[str]) -> Fault:
    name = str(path[-1])
    problem = f"unknown field {name!r} in {_where(path[:-1])}."
    if len(path) == 3 and name in expectations:
        return Fault(path, f"{problem} It belongs under 'expect'.", at_key=True)
    return Fault(path, f"{problem} {did_you_mean(name, _fields(path[:-1]))}", at_key=True)


def _fields(path: Path) -> Iterable[str]:
    """The names that there are in the mapping at `path`."""
    if path[:1] == ("sampling",) or path[:2] == ("matrix", "sampling"):
        return [field.name for field in dataclasses.fields(Sampling)]
    # By the last two keys, which tell all of the format's mappings apart.
    keys = tuple(step for step in path if isinstance(step, str))
    form = _FORMS.get(keys[-2:]) or _FORMS.get(keys[-1:])
    return form.model_fields if form else ()


def _what(path: Path) -> str:
    """The value at `path`, with where it stands."""
    named = len(path) > 0 and isinstance(path[-1], str)
    return f"{path[-1]!r} in {_where(path[:-1])}" if named else _where(path)


def _where(path: Path) -> str:
    match path:
        case ():
            return "the script"
        case ("turns", int(index)):
            return f"turn {index + 1}"
        case (*before, int(index)):
            return f"entry {index + 1} of {_where(tuple(before))}"
        case ("turns", int(index), *rest):
            return f"{rest[-1]!r} of turn {index + 1}"
    return repr(path[-1])


def _mistyped(what: str, wanted: str, given: Any) -> str:
    problem = f"{what} is {_shown(given)}; it has to be {wanted}."
    scalar = given is not None and not isinstance(given, Mapping | list | tuple)
    return f"{problem} Put it in quotes." if wanted == "text" and scalar else problem


def _shown(given: Any) -> str:
    if given is None:
        return "empty"
    if isinstance(given, Mapping):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    if isinstance(given, bool):
        return str(given).lower()
    text = repr(given)
    sort = "the text" if isinstance(given, str) else "the number"
    return f"{sort} {text if len(text) <= 40 else text[:39] + '…'}"


def _plain(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        told = str(detail["ctx"]["error"])
        return told if told.endswith((".", "?")) else f"{told}."
    if detail["type"] == "string_pattern_mismatch":
        name = _shown(detail["input"])
        return f"{name} is more than letters, digits, '_' and '-', or more than 64 of them."
    message = detail["msg"].removeprefix("Input ")
    return f"{_shown(detail['input'])} {message}."
