"""Which templates `vanta templates check` is to check, and what is wrong with them.

Invariant: templates are read and rendered with their defaults, no more; no engine is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vanta.cli.ground import Ground
    from vanta.prompts import Templates

GIVEN = {"user": "default"}
"""What a session gives its system prompt beside the configured variables."""


def wanted(what: Collection[str], known: Templates) -> Iterator[tuple[str, Templates]]:
    """The templates that are meant, each with the folders to look in; all if none is named.

    A file lies in one of the folders that are searched, or in the nearest folder above it that is
    named `templates`, or in one of its own. Raises TemplateError, UnknownName.
    """
    from vanta.errors import UnknownName

    if not what:
        yield from ((name, known) for name in known.files)
    for each in what:
        path = Path(each)
        if path.suffix == ".j2" or (path.is_dir() and each not in known.files):
            yield from _in_files(path.absolute(), known)
        elif each in known.files:
            yield each, known
        else:
            raise UnknownName("template", each, known.files)


def _in_files(path: Path, known: Templates) -> Iterator[tuple[str, Templates]]:
    from vanta.errors import TemplateError
    from vanta.prompts import Templates

    if not path.exists():
        raise TemplateError(f"{path} does not exist.")
    for file in sorted(path.rglob("*.j2")) if path.is_dir() else [path]:
        root = _root_of(file, known)
        others = [folder for folder in known.folders if folder != root]
        yield file.relative_to(root).with_suffix("").as_posix(), Templates([root, *others])


def _root_of(file: Path, known: Templates) -> Path:
    folders = [*known.folders, *(each for each in file.parents if each.name == "templates")]
    return next((each for each in folders if each in file.parents), file.parent)


def problems(name: str, templates: Templates, here: Ground) -> Iterator[str]:
    """What is wrong with template `name`, a sentence each."""
    from vanta.errors import UnknownName, VantaError

    given = {*GIVEN, *here.config.variables} if name.startswith("system/") else ()
    yield from templates.check(name, given)
    try:
        template = templates.get(name)
    except VantaError:
        return  # said already
    known = {"track": list(here.config.tracks), "policy": list(here.policies())}
    for kind, names in known.items():
        told = getattr(template.defaults, kind)
        if told and told not in names:
            line = template.lines[kind]
            yield f"{template.path}:{line}: {UnknownName(kind, told, names)}"
