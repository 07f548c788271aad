"""Finds templates in folders and renders them.

`FOLDER/system/pirate.j2` is the template `system/pirate`. Folders are searched in the order given;
the first that has a name wins, and `shadowed` lists what it hides. A name whose last part begins
with `_` is a partial: it can be included and extended, and is not listed.

Invariant: files are looked up at every use, so that an edited template takes effect at once; an
unchanged file, even a broken one, is neither read nor compiled again. No file outside the folders
is ever read.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vanta.errors import TemplateError, UnknownName
from vanta.files import FileRefused, read_file
from vanta.prompts.front_matter import Template, Variable, is_of_type, parse_template
from vanta.prompts.sandbox.contract import RenderLimits

if TYPE_CHECKING:
    from vanta.prompts.analysis import TextSpan
    from vanta.prompts.rendering import Renderer

Stamp = tuple[int, int, int]

_SUFFIX = ".j2"
_LIMITS = RenderLimits()


class Templates:
    """The prompt templates in some folders.

    Files are read when they are used, which blocks briefly, and then cached.

    :param folders: earlier folders win; a folder that does not exist is empty.
    :param limits: the resources of each rendering, and the size of a file.
    :param trusted: for a project's folder the SHA-256 of each file that a person has trusted, by
        its path in it; a template in that folder with another content is an error.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        limits: RenderLimits = _LIMITS,
        trusted: Mapping[Path, Mapping[str, str]] | None = None,
    ) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self.limits = limits
        self._trusted = dict(trusted or {})
        self._read: dict[Path, tuple[Stamp, Template | TemplateError]] = {}
        self._watched: dict[Path, Stamp | None] = {}

    def preload(self) -> None:
        """Read and compile every template, so that an unchanged one later opens no file.

        Blocking. A broken template is an error only when it is used.
        """
        self._watched = {path: _stamp(path) for path in self._places()}
        for name in _files(self.folders):
            with contextlib.suppress(TemplateError, UnknownName):
                self._renderer.compile(self.get(name))

    def reload(self) -> bool:
        """Preload again if a file was edited, added or removed since.

        Blocks for one `stat` of each file and folder if nothing changed.

        :returns: whether anything changed.
        """
        if all(_stamp(path) == stamp for path, stamp in self._watched.items()):
            return False
        self.preload()
        return True

    def list(self) -> tuple[str, ...]:
        """Return the names of all templates except partials, sorted."""
        return tuple(sorted(name for name in _files(self.folders) if not self.is_partial(name)))

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """The files of each name, partials included; the first one is used."""
        return {name: tuple(paths) for name, paths in _files(self.folders).items()}

    @property
    def shadowed(self) -> Mapping[str, tuple[Path, ...]]:
        """For each name in several folders, the files that an earlier folder hides."""
        return {name: paths[1:] for name, paths in self.files.items() if len(paths) > 1}

    @staticmethod
    def is_partial(name: str) -> bool:
        """Return whether a template is a partial, which is only included or extended.

        :param name: a template's name.
        """
        return name.rpartition("/")[2].startswith("_")

    @staticmethod
    def path_in(folder: Path, name: str) -> Path | None:
        """Return where a template lies in a folder, whether it exists or not.

        :param folder: a template folder.
        :param name: a template's name.
        :returns: the file's path, or None if the name is not valid.
        """
        parts = PurePosixPath(name).parts
        if "\0" in name or "\\" in name or not parts or {"..", "/"} & set(parts):
            return None
        return folder / f"{PurePosixPath(name)}{_SUFFIX}"

    def get(self, name: str) -> Template:
        """Return a template, read but not rendered.

        :param name: its name, such as `system/default`.
        :raises UnknownName: if no folder has it.
        :raises TemplateError: if its file is broken.
        """
        path = self._find(name)
        if path is None:
            raise UnknownName("template", name, self.list(), hint=f"Looked in {self._where()}.")
        return self._load(name, path)

    def variables(self, name: str) -> Mapping[str, Variable]:
        """Return the variables of a template, including those of its parts.

        :param name: a template's name.
        :returns: the variables by name.
        :raises UnknownName: if no folder has it.
        :raises TemplateError: if its file or a part is broken.
        """
        return self._renderer.variables(self.get(name))

    def render(self, name: str, variables: Mapping[str, Any] | None = None) -> str:
        """Return the text of a template.

        :param name: a template's name.
        :param variables: values by name: plain data. Values that it does not use are ignored.
        :raises UnknownName: if no folder has it.
        :raises TemplateError: if a variable is missing or of another type, or if the body fails or
            exceeds the limits.
        """
        template = self.get(name)
        given = _plain(variables or {}, template)
        return self._renderer.render(template, self._values(template, given))

    def spans(self, name: str, variables: Mapping[str, Any] | None = None) -> tuple[TextSpan, ...]:
        """Return the text of `render`, divided by the file or variable that it comes from.

        :param name: a template's name.
        :param variables: values by name.
        :raises UnknownName: as `render` does.
        :raises TemplateError: as `render` does.
        """
        from vanta.prompts.analysis import spans

        text = self.render(name, variables)
        template = self.get(name)
        values = self._values(template, variables or {})
        return spans(self.get, self.limits, template, values, text)

    def check(self, name: str, given: Collection[str] = ()) -> tuple[str, ...]:
        """Return the problems of a template, a sentence each; empty if there are none.

        :param name: a template's name.
        :param given: variables that the caller always passes, declared or not.
        """
        from vanta.prompts.analysis import problems

        return problems(self._renderer, name, names=self.files, given=given, render=self.render)

    def undeclared(self, name: str) -> tuple[str, ...]:
        """Return the names of variables that a template uses without a declaration.

        :param name: a template's name.
        :raises UnknownName: as `variables` does.
        :raises TemplateError: as `variables` does.
        """
        from vanta.prompts.analysis import undeclared

        return tuple(variable for variable, _ in undeclared(self._renderer, self.get(name)))

    def parts(self, name: str) -> tuple[Template, ...]:
        """Return a template and all that it includes or extends.

        :param name: a template's name.
        :raises UnknownName: as `variables` does.
        :raises TemplateError: as `variables` does.
        """
        return self._renderer.parts(self.get(name))

    def _values(self, template: Template, given: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(given)
        for variable in self._renderer.variables(template).values():
            if variable.name not in values:
                values[variable.name] = _default(template, variable)
            elif not (variable.accepts(values[variable.name]) or _is_unset(variable, values)):
                value = values[variable.name]
                raise TemplateError(
                    f"template {template.name!r} ({template.path}): variable {variable.name!r}"
                    f"{_described(variable)} must be of type {variable.type}, not {value!r}."
                )
        return values

    @functools.cached_property
    def _renderer(self) -> Renderer:
        from vanta.prompts.rendering import Renderer

        return Renderer(self.get, self.limits)

    def _find(self, name: str) -> Path | None:
        for folder in self.folders:
            path = self.path_in(folder, name)
            if path and _is_inside(path, folder):
                return path
        return None

    def _load(self, name: str, path: Path) -> Template:
        try:
            stamp = _stamp_of(path.stat())
            if path not in self._read or self._read[path][0] != stamp:
                self._read[path] = (stamp, self._parse(name, path))
        except OSError as error:
            raise TemplateError(f"{path}: cannot be read: {error.strerror}.") from error
        template = self._read[path][1]
        if isinstance(template, TemplateError):
            raise TemplateError(str(template))
        return template

    def _parse(self, name: str, path: Path) -> Template | TemplateError:
        try:
            return parse_template(name, path, self._text(path))
        except TemplateError as error:
            return error

    def _text(self, path: Path) -> str:
        try:
            data = read_file(path, self.limits.characters)
        except FileRefused as error:
            if error.errno == errno.EFBIG:
                raise TemplateError(
                    f"{path}: is larger than {self.limits.characters} bytes."
                ) from error
            raise TemplateError(f"{path}: cannot be read: {error.strerror}.") from error
        self._require_trust(path, data)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise TemplateError(f"{path}:{line}: is not UTF-8 text.") from error

    def _require_trust(self, path: Path, data: bytes) -> None:
        for folder, digests in self._trusted.items():
            if not path.is_relative_to(folder):
                continue
            name = path.relative_to(folder).as_posix()
            if digests.get(name) != hashlib.sha256(data).hexdigest():
                raise TemplateError(
                    f"{path}: has changed since {str(folder)!r} was trusted. Read it, run "
                    f"`vanta trust {shlex.quote(str(folder))}`, and start again."
                )

    def _places(self) -> Iterator[Path]:
        """Yield the paths that reveal a change: template files, and folders at every level."""
        yield from self.folders
        for folder in self.folders:
            for path in folder.rglob("*"):
                if path.suffix == _SUFFIX or path.is_dir():
                    yield path

    def _where(self) -> str:
        return ", ".join(map(str, self.folders)) or "no folder"


def _files(folders: Sequence[Path]) -> Mapping[str, list[Path]]:
    """Return every template's files by name, the one in use first."""
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{_SUFFIX}")):
            if _is_inside(path, folder):
                name = path.relative_to(folder).with_suffix("").as_posix()
                files.setdefault(name, []).append(path)
    return files


def _stamp(path: Path) -> Stamp | None:
    """Return what identifies the state of a file or folder; None if it does not exist."""
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def _stamp_of(stat: os.stat_result) -> Stamp:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether `path` is a file that lies in `folder` after following links."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def _default(template: Template, variable: Variable) -> Any:
    if not variable.required:
        return variable.default
    raise TemplateError(
        f"template {template.name!r} ({template.path}): variable {variable.name!r} is missing"
        f"{_described(variable)}. Give it a value."
    )


def _is_unset(variable: Variable, values: Mapping[str, Any]) -> bool:
    return values[variable.name] is None and not variable.required


def _described(variable: Variable) -> str:
    return f" ({variable.description.strip().rstrip('.')})" if variable.description.strip() else ""


def _plain(values: Mapping[str, Any], template: Template) -> dict[str, Any]:
    """Return a copy of `values`, which must be plain data without methods of its own."""
    for name, value in values.items():
        if not _is_plain(value):
            raise TemplateError(
                f"template {template.name!r}: variable {name!r} is a {type(value).__name__}. Give"
                " text, a number, a boolean, None, or lists and mappings of these."
            )
    return dict(values)


def _is_plain(value: Any, depth: int = 20) -> bool:
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    elif not is_of_type(value, "list"):
        return value is None or type(value) in {str, int, float, bool}
    return all(_is_plain(item, depth - 1) for item in value)
