"""The inputs of `vanta templates`: which templates to check, and the values of variables.

Invariant: checking reads templates and renders them with their defaults; it creates no engine. A
value of the wrong type, and an unknown variable, are refused before anything is rendered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta.errors import TemplateError, UnknownName
from vanta.files import parse_json

if TYPE_CHECKING:
    from vanta.cli.setup import Setup
    from vanta.prompts import Template, Templates, Variable

GIVEN = {"user": "default"}
"""The variables that a session gives its system prompt in addition to the configured ones."""


def select(names: Collection[str], known: Templates) -> Iterator[tuple[str, Templates]]:
    """Yield the templates with the given names or paths, and the folders to search for each.

    A file belongs to one of the searched folders, else to the nearest folder above it that is named
    `templates`, else to its own folder.

    :param names: names, files or folders; all known templates if empty.
    :raises TemplateError: if a path does not exist.
    :raises UnknownName: if the template is unknown.
    """
    if not names:
        yield from ((name, known) for name in known.files)
    for name in names:
        path = Path(name)
        if path.suffix == ".j2" or (path.is_dir() and name not in known.files):
            yield from _in_files(path.absolute(), known)
        elif name in known.files:
            yield name, known
        else:
            raise UnknownName("template", name, known.files)


def _in_files(path: Path, known: Templates) -> Iterator[tuple[str, Templates]]:
    from vanta.prompts import Templates

    if not path.exists():
        raise TemplateError(f"{str(path)!r} does not exist. Check the path.")
    for file in sorted(path.rglob("*.j2")) if path.is_dir() else [path]:
        root = _root_of(file, known)
        others = [folder for folder in known.folders if folder != root]
        yield file.relative_to(root).with_suffix("").as_posix(), Templates([root, *others])


def _root_of(file: Path, known: Templates) -> Path:
    named = (parent for parent in file.parents if parent.name == "templates")
    folders = [*known.folders, *named]
    return next((folder for folder in folders if folder in file.parents), file.parent)


def problems(name: str, templates: Templates, setup: Setup) -> Iterator[str]:
    """Yield each problem of the template `name` as a sentence."""
    from vanta.errors import VantaError

    given = {*GIVEN, *setup.config.variables} if name.startswith("system/") else ()
    yield from templates.check(name, given)
    try:
        template = templates.get(name)
    except VantaError:
        return  # `check` has already yielded it
    known = {"track": list(setup.config.tracks), "policy": list(setup.policies())}
    for kind, names in known.items():
        value = getattr(template.defaults, kind)
        if value and value not in names:
            line = template.lines[kind]
            yield f"{template.path}:{line}: {UnknownName(kind, value, names)}"


def parse_values(
    assignments: Iterable[str],
    template: Template,
    known: Mapping[str, Variable],
    others: Iterable[str],
) -> dict[str, Any]:
    """Return the values of `-v key=value` options, each read as its variable's declared type.

    :param known: the variables that the template declares.
    :param others: further names that may have a value.
    :raises TemplateError: if an option has no value, or a value does not fit its variable.
    :raises UnknownName: if the variable is unknown.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise TemplateError(f"{text!r} has no value. Write '-v {text}=VALUE'.")
        if name not in known and name not in others:
            raise UnknownName(f"variable of {template.name!r}", name, known)
        values[name] = _parse_value(name, value, known.get(name))
    return values


def _parse_value(name: str, text: str, variable: Variable | None) -> Any:
    kind = variable.type if variable else None
    if variable is None or kind in (None, "string"):
        return text
    try:
        value = parse_json(text)
    except ValueError:
        value = text
    if not variable.accepts(value):
        about = f" ({variable.description.strip().rstrip('.')})" if variable.description else ""
        example = _EXAMPLES[str(kind)]
        raise TemplateError(
            f"variable {name!r}{about} must be of type {kind}, not {text!r}. "
            f"Write it as in '-v {name}={example}'."
        )
    return value


_EXAMPLES = {
    "integer": "3",
    "number": "0.5",
    "boolean": "true",
    "list": '["a", "b"]',
    "mapping": '{"a": 1}',
}
