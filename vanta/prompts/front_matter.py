"""The front matter of a template file: the YAML between two `---` lines at its top.

Invariant: a `Template` is checked when it is read (fields, types, ranges, defaults), so that a
rendering can fail only for its values or for what its body does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from vanta.engine import Sampling
from vanta.errors import InvalidValue, TemplateError, did_you_mean
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
class TurnDefaults:
    """How turns are answered under a template's system prompt, unless the caller says otherwise.

    A call's own options win over these, and these over the configuration.

    :param track: answer by this track alone; None: as configured.
    :param policy: answer under this policy; None: as configured.
    :param sampling: sampling options; unset fields are the track's.
    """

    track: str | None = None
    policy: str | None = None
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The type of a front matter value, and the range of its numbers.

    :param type: one of the types of variables.
    :param least: smallest number, or None.
    :param most: largest number, or None.
    :param above: `least` itself is excluded.
    """

    type: str
    least: float | None = None
    most: float | None = None
    above: bool = False

    def refusal(self, value: float) -> str:
        """Return why `value` is out of range; empty if it is not."""
        if self.least is not None and (value <= self.least if self.above else value < self.least):
            return f"must be {'greater than' if self.above else 'at least'} {self.least:g}"
        if self.most is not None and value > self.most:
            return f"must be at most {self.most:g}"
        return ""


# The ranges are those of the configuration's `tracks.NAME.sampling`, which a test compares.
SAMPLING: Mapping[str, ValueRange] = {
    "max_tokens": ValueRange("integer", least=1),
    "temperature": ValueRange("number", least=0),
    "top_p": ValueRange("number", least=0, most=1, above=True),
    "top_k": ValueRange("integer", least=0),
    "min_p": ValueRange("number", least=0, most=1),
    "repeat_penalty": ValueRange("number", least=0, above=True),
    "presence_penalty": ValueRange("number", least=-2, most=2),
    "frequency_penalty": ValueRange("number", least=-2, most=2),
    "typical_p": ValueRange("number", least=0, most=1, above=True),
    "dry_multiplier": ValueRange("number", least=0),
    "seed": ValueRange("integer"),
    "stop": ValueRange("list"),
    "grammar": ValueRange("string"),
    "json_schema": ValueRange("mapping"),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that a template takes.

    :param name: a Python identifier.
    :param type: string, integer, number, boolean, list or mapping; None: any.
    :param default: used if no value is given, unless `required`.
    :param description: a sentence for people.
    :param required: a value must be given; `default` is unused.
    """

    name: str
    type: str | None = None
    default: Any = None
    description: str = ""
    required: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is of the variable's type.

        :param value: a value for the variable.
        """
        return self.type is None or is_of_type(value, self.type)


@dataclass(frozen=True, slots=True)
class Template:
    """A template file, read and checked.

    :param name: its path in the template folder, without the suffix.
    :param path: the file.
    :param body: the text after the front matter.
    :param first_line: line number of the body's start, from 1.
    :param description: a sentence for people.
    :param variables: the declared variables by name.
    :param tags: words for people.
    :param defaults: how turns under this system prompt are answered.
    :param lines: line of each front matter field, by its dotted name.
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
        """The body for Jinja, after a comment that makes its line numbers those of the file."""
        return "{#" + "\n" * (self.first_line - 1) + "+#}" + self.body


def is_of_type(value: Any, kind: str) -> bool:
    """Return whether `value` is of a variable type; a boolean is not a number."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def parse_template(name: str, path: Path, text: str) -> Template:
    """Return the template `name`, whose file at `path` contains `text`.

    Raises TemplateError with file, line and column for a broken front matter.
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
        problem = f"'name' is {node.value['name']!r}, but the file's location makes it {name!r}"
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
        problem = f"{name!r} is not a variable name. Use letters, digits and '_'."
        form.fail(path, problem, key=True)
    if kind is not None and kind not in _KINDS:
        form.fail((*path, "type"), f"no type is named {kind!r}. {did_you_mean(str(kind), _KINDS)}")
    if not isinstance(given.get("description", ""), str):
        form.fail((*path, "description"), "'description' must be of type string")
    variable = Variable(
        name, kind, given.get("default"), given.get("description", ""), "default" not in given
    )
    if variable.default is not None and not variable.accepts(variable.default):
        form.fail((*path, "default"), f"the default {variable.default!r} is not of type {kind}")
    return variable


def _defaults(form: _Form) -> TurnDefaults:
    fields = form.node.value
    if "track" in fields and "policy" in fields:
        form.fail(("policy",), "'track' and 'policy' exclude each other: keep one", key=True)
    return TurnDefaults(fields.get("track"), fields.get("policy"), _sampling(form))


def _sampling(form: _Form) -> Sampling:
    given = form.node.value.get("sampling", {})
    if given:
        kinds = {name: allowed.type for name, allowed in SAMPLING.items()}
        form.check(("sampling",), kinds, "sampling")
    for name, value in given.items():
        problem = SAMPLING[name].refusal(value)
        if problem:
            form.fail(("sampling", name), f"{name!r} {problem}, not {value!r}")
    stop = _texts(form, ("sampling", "stop"))
    try:
        return Sampling(**{**given, "stop": stop})
    except InvalidValue as error:
        form.fail(("sampling",), str(error))


def _texts(form: _Form, at: tuple[str, ...]) -> tuple[str, ...]:
    """Return the list of strings at `at`; empty if it is missing."""
    value = form.node.value
    for step in at:
        value = value.get(step, {})
    for number, text in enumerate(value):
        if not isinstance(text, str) or not text:
            form.fail((*at, number), f"{at[-1]!r} must be a list of strings")
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
            self.fail(at, f"{what} must be a mapping with {', '.join(map(repr, fields))}")
        for name, given in value.items():
            if name not in fields:
                problem = f"unknown field {name!r} in {what}. {did_you_mean(name, fields)}"
                self.fail((*at, name), problem, key=True)
            kind = fields[name]
            if kind and not is_of_type(given, kind):
                self.fail((*at, name), f"{name!r} must be of type {kind}")


def _error(path: Path, place: Place, reason: str) -> TemplateError:
    return TemplateError(f"{path}:{place.line}:{place.column}: {reason}")
