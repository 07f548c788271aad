"""Finds templates in folders and renders them.

`FOLDER/system/pirate.j2` is the template `system/pirate`. Folders are searched in the order given;
the first that has a name wins, and `shadowed` says what it hides. A name whose last part begins
with `_` is a partial: it can be included and extended, and is not listed.

Invariant: files are looked up anew at every use, so that an edited template takes effect at once;
what is unchanged is neither read nor compiled again, broken files included. No file outside the
folders is ever read.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vanta.errors import TemplateError, UnknownName
from vanta.prompts.front_matter import Template, Variable, is_of_type, parse_template
from vanta.prompts.limits import RenderLimits

if TYPE_CHECKING:
    from vanta.prompts.anatomy import Piece
    from vanta.prompts.rendering import Renderer

Stamp = tuple[int, int, int]

_SUFFIX = ".j2"
_LIMITS = RenderLimits()


class Templates:
    """The prompt templates in `folders`; earlier folders win.

    A folder that does not exist holds nothing. Files are read where they are used: blocking, small
    (see `RenderLimits`), and from then on cached.
    """

    def __init__(self, folders: Sequence[Path], *, limits: RenderLimits = _LIMITS) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self.limits = limits
        self._read: dict[Path, tuple[Stamp, Template | TemplateError]] = {}
        self._watched: dict[Path, Stamp | None] = {}

    def preload(self) -> None:
        """Read and compile every template, so that later, on an event loop, an unchanged one opens
        no file. Blocking; a broken template is an error when it is used."""
        self._watched = {path: _stamp(path) for path in self._places()}
        for name in _files(self.folders):
            with contextlib.suppress(TemplateError, UnknownName):
                self._renderer.compile(self.get(name))

    def reload(self) -> bool:
        """Preload again if a file was edited, added or removed since; whether that was so.
        Blocking, though short: where nothing changed, one `stat` for each file and folder."""
        if all(_stamp(path) == stamp for path, stamp in self._watched.items()):
            return False
        self.preload()
        return True

    def list(self) -> tuple[str, ...]:
        """The names of all templates but partials, sorted."""
        return tuple(sorted(name for name in _files(self.folders) if not is_partial(name)))

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """The files that have each name, partials too, the one that counts first."""
        return {name: tuple(paths) for name, paths in _files(self.folders).items()}

    @property
    def shadowed(self) -> Mapping[str, tuple[Path, ...]]:
        """For each name found twice, the files that an earlier folder hides."""
        return {name: paths[1:] for name, paths in self.files.items() if len(paths) > 1}

    def get(self, name: str) -> Template:
        """The template `name`, read but not rendered.

        Raises UnknownName if no folder has it, TemplateError if its file cannot be used.
        """
        path = self._find(name)
        if path is None:
            raise UnknownName("template", name, self.list(), hint=f"Looked in {self._where()}.")
        return self._load(name, path)

    def variables(self, name: str) -> Mapping[str, Variable]:
        """The variables that rendering `name` takes: its own and those of what it includes."""
        return self._renderer.variables(self.get(name))

    def render(self, name: str, variables: Mapping[str, Any] | None = None) -> str:
        """The text of template `name` under `variables`: plain data; more than it needs does no
        harm.

        Raises UnknownName, and TemplateError for a variable that is missing or of another type, a
        body that fails, and one that takes more than `RenderLimits`.
        """
        template = self.get(name)
        given = _plain(variables or {}, template)
        return self._renderer.render(template, self._values(template, given))

    def pieces(self, name: str, variables: Mapping[str, Any] | None = None) -> tuple[Piece, ...]:
        """The text of `render`, cut where it comes from another file or another variable.

        Raises what `render` raises.
        """
        from vanta.prompts.anatomy import dissect

        text = self.render(name, variables)
        template = self.get(name)
        values = self._values(template, variables or {})
        return dissect(self.get, self.limits, template, values, text)

    def check(self, name: str, given: Collection[str] = ()) -> tuple[str, ...]:
        """What is wrong with template `name`, a sentence each; () if all is well.

        given: variables that whoever renders it always gives, declared or not.
        """
        from vanta.prompts.checking import problems

        return problems(self, self._renderer, name, given)

    def undeclared(self, name: str) -> tuple[str, ...]:
        """Variables that rendering `name` uses though nothing declares them. Raises as `variables`
        does."""
        from vanta.prompts.checking import undeclared

        return tuple(found for found, _ in undeclared(self._renderer, self.get(name)))

    def parts(self, name: str) -> tuple[Template, ...]:
        """Template `name` and all that it includes or extends. Raises as `variables` does."""
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
                    f"{_described(variable)} has to be of type {variable.type}, not {value!r}."
                )
        return values

    @functools.cached_property
    def _renderer(self) -> Renderer:
        from vanta.prompts.rendering import Renderer

        return Renderer(self.get, self.limits)

    def _find(self, name: str) -> Path | None:
        for folder in self.folders:
            path = place_for(name, folder)
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
        found = self._read[path][1]
        if isinstance(found, TemplateError):
            raise TemplateError(str(found))
        return found

    def _parse(self, name: str, path: Path) -> Template | TemplateError:
        try:
            return parse_template(name, path, self._text(path))
        except TemplateError as error:
            return error

    def _text(self, path: Path) -> str:
        with path.open("rb") as file:
            data = file.read(self.limits.characters + 1)
        if len(data) > self.limits.characters:
            raise TemplateError(f"{path}: is larger than {self.limits.characters} bytes.")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise TemplateError(f"{path}:{line}: is not UTF-8 text.") from error

    def _places(self) -> Iterator[Path]:
        """All whose change is a change of the templates: the folders, theirs, and the files."""
        yield from self.folders
        for folder in self.folders:
            for path in folder.rglob("*"):
                if path.suffix == _SUFFIX or path.is_dir():
                    yield path

    def _where(self) -> str:
        return ", ".join(map(str, self.folders)) or "no folder"


def _files(folders: Sequence[Path]) -> Mapping[str, list[Path]]:
    """Every template's files by its name, the one that counts first."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{_SUFFIX}")):
            if _is_inside(path, folder):
                name = path.relative_to(folder).with_suffix("").as_posix()
                found.setdefault(name, []).append(path)
    return found


def _stamp(path: Path) -> Stamp | None:
    """What tells one state of a file or folder from another; None where there is nothing."""
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def _stamp_of(stat: os.stat_result) -> Stamp:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def place_for(name: str, folder: Path) -> Path | None:
    """The file that would be template `name` in `folder`; None for what cannot name one."""
    parts = PurePosixPath(name).parts
    if "\0" in name or "\\" in name or not parts or {"..", "/"} & set(parts):
        return None
    return folder / f"{PurePosixPath(name)}{_SUFFIX}"


def is_partial(name: str) -> bool:
    return name.rpartition("/")[2].startswith("_")


def _is_inside(path: Path, folder: Path) -> bool:
    """True if `path` is a file whose real place, links followed, is in `folder`."""
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
    """A copy of `values` that a template may have: plain data, nothing with methods of its own."""
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
