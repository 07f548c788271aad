"""What a template file says of itself: the YAML between two `---` lines at its top.

Invariant: a `Template` is checked when it is read (fields, types, defaults), so that a render can
only fail for what it was given or for what its body does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from vanta.engine import Sampling
from vanta.errors import TemplateError, did_you_mean
from vanta.prompts.defaults import SAMPLING, TurnDefaults
from vanta.text import DocumentError, Node, Place, read_marked

_MARK = "---"
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list, tuple),
    "mapping": (Mapping,),
}
FIELDS: Mapping[str, str] = {
    "name": "string",
    "description": "string",
    "tags": "list",
    "variables": "mapping",
    "track": "string",
    "policy": "string",
    "sampling": "mapping",
}
_VARIABLE_FIELDS = ("type", "default", "description")


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that a template takes. `type` is one of string, integer, number, boolean, list and
    mapping, or None for any; without a default (`required`) it has to be given."""

    name: str
    type: str | None = None
    default: Any = None
    description: str = ""
    required: bool = False

    def accepts(self, value: Any) -> bool:
        """True if `value` is of the variable's type."""
        return self.type is None or is_of_type(value, self.type)


@dataclass(frozen=True, slots=True)
class Template:
    """A template file, read. `body` is what follows the front matter, from line `first_line` on.

    defaults: what it says of the turns that it is the system prompt of. lines: the line of each
    field of the front matter, by its dotted name.
    """

    name: str
    path: Path
    body: str
    first_line: int = 1
    description: str = ""
    variables: Mapping[str, Variable] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    defaults: TurnDefaults = field(default_factory=TurnDefaults)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The body for Jinja, behind a comment that makes its line numbers those of the file."""
        return "{#" + "\n" * (self.first_line - 1) + "+#}" + self.body


def is_of_type(value: Any, kind: str) -> bool:
    """True if `value` is a `kind` of those that a variable can have; a boolean is no number."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def parse_template(name: str, path: Path, text: str) -> Template:
    """The template `name`, whose file at `path` has `text`.

    Raises TemplateError with file, line and column for front matter that does not fit.
    """
    header, body, first_line = _split(text, path)
    if not header.strip():
        return Template(name, path, body, first_line)
    try:
        node = read_marked("\n" + header)
    except DocumentError as error:
        raise _error(path, error.place, error.reason) from error
    form = _Form(path, node)
    form.check((), FIELDS)
    if node.value.get("name", name) != name:
        problem = f"'name' is {node.value['name']!r}, but the file's place makes it {name!r}"
        form.fail(("name",), problem + ". Remove the line or move the file.")
    return Template(
        name,
        path,
        body,
        first_line,
        node.value.get("description", ""),
        {key: _variable(form, key) for key in node.value.get("variables", {})},
        _texts(form, ("tags",)),
        _defaults(form),
        {".".join(path): line for path, line in _lines(node)},
    )


def _split(text: str, path: Path) -> tuple[str, str, int]:
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != _MARK:
        return "", text, 1
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == _MARK:
            return "".join(lines[1:number]), "".join(lines[number + 1 :]), number + 2
    raise _error(path, Place(1, 1), "the front matter has no closing '---' line")


def _variable(form: _Form, name: str) -> Variable:
    path = ("variables", name)
    form.check(path, dict.fromkeys(_VARIABLE_FIELDS), what=f"variable {name!r}")
    given = form.node.value["variables"][name]
    kind = given.get("type")
    if not name.isidentifier():
        form.fail(path, f"{name!r} cannot name a variable. Use letters, digits and '_'.", key=True)
    if kind is not None and kind not in _KINDS:
        form.fail((*path, "type"), f"no type is named {kind!r}. {did_you_mean(str(kind), _KINDS)}")
    if not isinstance(given.get("description", ""), str):
        form.fail((*path, "description"), "'description' has to be a string")
    variable = Variable(
        name, kind, given.get("default"), given.get("description", ""), "default" not in given
    )
    if variable.default is not None and not variable.accepts(variable.default):
        form.fail((*path, "default"), f"the default {variable.default!r} is no {kind}")
    return variable


def _defaults(form: _Form) -> TurnDefaults:
    told = form.node.value
    if "track" in told and "policy" in told:
        form.fail(("policy",), "'track' and 'policy' exclude each other: keep one", key=True)
    return TurnDefaults(told.get("track"), told.get("policy"), _sampling(form))


def _sampling(form: _Form) -> Sampling:
    given = form.node.value.get("sampling", {})
    if given:
        form.check(("sampling",), {name: each.type for name, each in SAMPLING.items()}, "sampling")
    for name, value in given.items():
        problem = SAMPLING[name].refusal(value)
        if problem:
            form.fail(("sampling", name), f"{name!r} {problem}, not {value!r}")
    stop = _texts(form, ("sampling", "stop"))
    return Sampling(**{**given, "stop": stop})


def _texts(form: _Form, at: tuple[str, ...]) -> tuple[str, ...]:
    """The list of strings at `at`, empty where there is none."""
    value = form.node.value
    for step in at:
        value = value.get(step, {})
    for number, text in enumerate(value):
        if not isinstance(text, str) or not text:
            form.fail((*at, number), f"{at[-1]!r} has to be a list of strings")
    return tuple(value)


def _lines(node: Node, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    for key, place in node.keys.items():
        yield (*at, key), place.line
        yield from _lines(node.children[key], (*at, key))


@dataclass(frozen=True, slots=True)
class _Form:
    path: Path
    node: Node

    def fail(self, at: tuple[str | int, ...], reason: str, *, key: bool = False) -> NoReturn:
        raise _error(self.path, self.node.place_of(at, key=key), reason)

    def check(
        self, at: tuple[str, ...], fields: Mapping[str, str | None], what: str = "front matter"
    ) -> None:
        """Refuse the value at `at` unless it is a mapping with nothing but `fields`."""
        value = self.node.value
        for step in at:
            value = value[step]
        if not isinstance(value, dict):
            self.fail(at, f"{what} has to be a mapping, with {', '.join(map(repr, fields))}")
        for name, given in value.items():
            if name not in fields:
                problem = f"unknown field {name!r} in {what}. {did_you_mean(name, fields)}"
                self.fail((*at, name), problem, key=True)
            kind = fields[name]
            if kind and not is_of_type(given, kind):
                self.fail((*at, name), f"{name!r} has to be a {kind}")


def _error(path: Path, place: Place, reason: str) -> TemplateError:
    return TemplateError(f"{path}:{place.line}:{place.column}: {reason}")
