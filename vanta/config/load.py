"""Loads the configuration out of its layers.

Invariant: later layers win, in this order: what ships with vanta (`default.toml`), the user's file
and the project's (or, in place of both, the source that was asked for), the environment, the call.
Loading reads files and creates none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs
from pydantic import BaseModel, ValidationError

from vanta.config import layers, problems
from vanta.config.check import check
from vanta.config.explain import Explanation, explain
from vanta.config.layers import SOURCE_VARIABLE, Merged
from vanta.config.origin import Origin, dotted
from vanta.config.schema import Config
from vanta.config.secret import shown
from vanta.errors import ConfigError, did_you_mean
from vanta.resources import configs_dir

if TYPE_CHECKING:
    from vanta.plugin_loading import PluginSet

Source = str | Path | Mapping[str, Any]
Options = TypeVar("Options", bound=BaseModel)
PROJECT_FILE = Path("vanta.toml")
_NO_CONFIGURATION = frozenset({"models", "prices"})  # other data that lies in the same folder


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where each of its values came from.

    origins: dotted key -> origin, for every key that some layer set. project: the folder that the
    configuration speaks for, None where a program handed all of it over as data.
    """

    config: Config
    origins: Mapping[str, Origin]
    project: Path | None
    _merged: Merged = field(repr=False)

    def as_dict(self, *, redacted: bool = True) -> dict[str, Any]:
        """The whole configuration, defaults too, as JSON-ready data."""
        data = self.config.model_dump(mode="json")
        return dict(shown(data)) if redacted else data

    def explain(self, key: str) -> Explanation:
        """Explain a dotted key or a whole table. Raises ConfigError for one that does not exist."""
        values = self.config.model_dump(mode="json")
        return explain(tuple(key.split(".")), values, self._merged)

    def check(self, plugins: PluginSet | None = None) -> tuple[str, ...]:
        """What fits the schema and still cannot work, one sentence each; () if all is well.

        plugins: what is installed; without it, engines and their options are not looked at.
        """
        return check(self, plugins)

    def options(self, track: str, model: type[Options]) -> Options:
        """The options of a track, checked against its engine's model. Raises ConfigError."""
        config = self.config.tracks[track]
        try:
            return model.model_validate(config.options)
        except ValidationError as error:
            raise problems.as_options_error(
                error, self._merged, track, config.engine, model.model_fields
            ) from None


def load(
    source: Source | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load the configuration.

    source: a file's path, the name of a ready configuration ("offline"), or data; it stands in
    place of the user's and the project's file. environ: instead of the process's environment.
    overrides: what wins over all else, nested like the file; None leaves a value as it is.
    Raises ConfigError, which tells all that is wrong.
    """
    environ = os.environ if environ is None else environ
    merged = Merged()
    merged.lay(layers.from_file(configs_dir() / "default.toml"))
    if source is None:
        source = environ.get(SOURCE_VARIABLE) or None
    for layer in _chosen(source):
        merged.lay(layer)
    merged.lay(layers.from_environment(environ))
    merged.lay(layers.from_arguments(overrides or {}))
    problems.refuse_inline_keys(merged)
    try:
        config = Config.model_validate(merged.tree)
    except ValidationError as error:
        raise problems.as_config_error(error, merged) from None
    origins = {dotted(key): at for key, at in merged.origins.items()}
    return Loaded(config, origins, _project(source), merged)


def user_file() -> Path:
    """Where the user's own configuration is looked for; it need not exist."""
    return platformdirs.user_config_path("vanta", appauthor=False) / "config.toml"


def ready() -> dict[str, Path]:
    """The ready configurations that ship with vanta, by name."""
    found = sorted(configs_dir().glob("*.toml"))
    return {path.stem: path for path in found if path.stem not in _NO_CONFIGURATION}


def _project(source: Source | None) -> Path | None:
    """Where a file of one's own lies, else the working directory."""
    if isinstance(source, Mapping):
        return None
    path = PROJECT_FILE if source is None else _path_of(source)
    if path.parent == configs_dir():
        path = PROJECT_FILE
    try:
        return path.absolute().parent
    except OSError:  # the working directory is gone
        return None


def _chosen(source: Source | None) -> list[list[layers.Setting]]:
    if source is None:
        files = [path for path in (user_file(), PROJECT_FILE) if path.exists()]
        return [layers.from_file(path) for path in files]
    if isinstance(source, Mapping):
        return [layers.from_arguments(source)]
    return [layers.from_file(_path_of(source))]


def _path_of(source: str | Path) -> Path:
    """A path as it is; a bare word is the name of a ready configuration."""
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - leaves an unknown user as it is
    if isinstance(source, Path) or path.suffix or len(path.parts) != 1:
        return path
    known = ready()
    if source not in known:
        raise ConfigError(
            f"no ready configuration is named {source!r}. {did_you_mean(source, known)} "
            f"For a file of your own, give its path: './{source}.toml'."
        )
    return known[source]
