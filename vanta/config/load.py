"""Load the configuration from its layers, and explain where each value comes from.

Invariant: later layers win, in this order: `default.toml`, which ships with vanta; the user's file
and the project's file (or, in place of both, the given source); the environment; the arguments of
the call. The project's file wins only as far as its trust allows, see `vanta.config.trust`. A file
that the caller names is the caller's own word. Loading reads files and creates none. An
`Explanation` holds no secret.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from pydantic import BaseModel, ValidationError

from vanta.config import keys, layers, problems
from vanta.config.keys import Key, dotted
from vanta.config.layers import SOURCE_VARIABLE, Merged, Origin, Setting
from vanta.config.project import PROJECT_FILE, find_project
from vanta.config.schema import Config
from vanta.config.trust import ProjectTrust, add_project, unreadable_project
from vanta.errors import ConfigError, did_you_mean
from vanta.installation import configs_dir
from vanta.text import redact

Source = str | Path | Mapping[str, Any]
Options = TypeVar("Options", bound=BaseModel)
_log = logging.getLogger("vanta.config")
_said: set[str] = set()
_OTHER_DATA = frozenset({"models", "prices"})  # files of the same folder: not configurations


@dataclass(frozen=True, slots=True)
class Explanation:
    """The value of one key or table, its source, and the values that it overrides.

    :param key: the dotted key.
    :param value: the effective value, without secrets.
    :param origin: the source of the value.
    :param description: what the key does, in one sentence.
    :param below: sources and values of lower layers, from the nearest to the farthest.
    :param ignored: sources and values that do not count, since a project may not set them.
    :param parts: the explanations of a table's keys; () for a single value.
    """

    key: str
    value: Any
    origin: Origin
    description: str
    below: tuple[tuple[Origin, Any], ...] = ()
    parts: tuple[Explanation, ...] = ()
    ignored: tuple[tuple[Origin, Any], ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return "\n".join([f"[{self.key}]  {self.description}", *map(str, self.parts)])
        lines = [
            f"{self.key} = {_as_toml(self.value)}",
            f"  {self.description}",
            f"  from {self.origin}",
        ]
        lines += [f"  over {_as_toml(value)} from {origin}" for origin, value in self.below]
        lines += [
            f"  ignored {_as_toml(value)} from {origin}, which "
            + ("a project may not set" if origin.kind == "file" else "is not for this server")
            for origin, value in self.ignored
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready data."""
        return {
            "key": self.key,
            "value": self.value,
            "origin": str(self.origin),
            "description": self.description,
            "below": [{"origin": str(origin), "value": value} for origin, value in self.below],
            "ignored": [{"origin": str(origin), "value": value} for origin, value in self.ignored],
            "parts": [part.to_dict() for part in self.parts],
        }


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with the source of each of its values.

    :param config: the effective configuration.
    :param origins: dotted key to source, for every key that a layer sets.
    :param project: the folder of the project, or None if the configuration was passed as data.
    :param trust: the trust in the project of the working directory; None if there is none, or if
        a configuration file was named, which counts as the caller's own word.
    """

    config: Config
    origins: Mapping[str, Origin]
    project: Path | None
    trust: ProjectTrust | None
    _merged: Merged = field(repr=False)

    def as_dict(self, *, redacted: bool = True) -> dict[str, Any]:
        """Return the whole configuration, defaults included, as JSON-ready data.

        :param redacted: whether secrets are replaced by `***`.
        :returns: nested dictionaries in the shape of the configuration file.
        """
        data = self.config.model_dump(mode="json")
        return dict(redact(data)) if redacted else data

    def explain(self, key: str, recommended: Sequence[Setting] = ()) -> Explanation:
        """Explain one key or a whole table.

        :param key: a dotted key such as `tracks.local.window`.
        :param recommended: what models recommend; it applies to keys that no layer sets.
        :returns: the explanation, without secrets.
        :raises ConfigError: for an unknown key, or a key of a table that does not exist.
        """
        values = self.config.model_dump(mode="json")
        for setting in recommended:
            table = _value_of(setting.key[:-1], values)
            if table[setting.key[-1]] is None:
                table[setting.key[-1]] = setting.value
        return _explain(tuple(key.split(".")), values, self._merged.over(recommended))

    def options(self, track: str, model: type[Options]) -> Options:
        """Validate a track's engine options.

        :param track: the name of a configured track.
        :param model: the engine's options model (`EngineFactory.options`).
        :returns: an instance of `model`.
        :raises ConfigError: for options that do not fit; the message lists all of them.
        """
        config = self.config.tracks[track]
        try:
            return model.model_validate(config.options)
        except ValidationError as error:
            raise problems.options_error(
                error, self._merged, track, config.engine, model.model_fields
            ) from None


def load(
    source: Source | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load the configuration.

    :param source: a file's path, the name of a ready configuration ("offline"), or data. It
        replaces the user's and the project's file; None reads both.
    :param environ: environment variables; None reads those of the process.
    :param overrides: values that win over all other layers, nested like the file; None as a value
        leaves a key as it is.
    :returns: the configuration with the source of each value.
    :raises ConfigError: for a missing or malformed file, unknown keys, values of a wrong type and
        inline API keys; the message lists all problems.
    """
    environ = os.environ if environ is None else environ
    merged = Merged()
    merged.add(layers.from_file(configs_dir() / "default.toml"))
    if source is None:
        source = environ.get(SOURCE_VARIABLE) or None
    above = [layers.from_environment(environ), layers.from_arguments(overrides or {})]
    trust = _add_source(merged, source, [setting for layer in above for setting in layer])
    withheld = () if trust is None else trust.withheld
    for layer in above:
        merged.add([setting for setting in layer if setting not in withheld])
    problems.refuse_inline_secrets(merged)
    try:
        config = Config.model_validate(merged.tree)
    except ValidationError as error:
        raise problems.config_error(error, merged) from None
    origins = {dotted(key): origin for key, origin in merged.origins.items()}
    return Loaded(config, origins, _project_folder(source), trust, merged)


def user_file() -> Path:
    """Return the path of the user's configuration file, which need not exist.

    :returns: an absolute path in the platform's configuration folder.
    """
    return platformdirs.user_config_path("vanta", appauthor=False) / "config.toml"


def ready_configurations() -> dict[str, Path]:
    """Return the ready configurations that ship with vanta.

    :returns: name to file, sorted by name.
    """
    paths = sorted(configs_dir().glob("*.toml"))
    return {path.stem: path for path in paths if path.stem not in _OTHER_DATA}


def _project_folder(source: Source | None) -> Path | None:
    """Return the folder of a given file, or the working directory if no own file was given."""
    if isinstance(source, Mapping):
        return None
    path = PROJECT_FILE if source is None else _path_of(source)
    if path.parent == configs_dir():
        path = PROJECT_FILE
    try:
        return path.absolute().parent
    except OSError:  # the working directory no longer exists
        return None


def _add_source(
    merged: Merged, source: Source | None, above: Sequence[Setting]
) -> ProjectTrust | None:
    """Lay the given source over vanta's default, or the user's and the project's file."""
    if isinstance(source, Mapping):
        merged.add(layers.from_arguments(source))
        return None
    if source is None:
        if user_file().exists():
            merged.add(layers.from_file(user_file()))
    else:
        path = _path_of(source)
        merged.add(layers.from_file(path))
        if path.parent != configs_dir():
            return None
    try:
        project = find_project(Path())
    except ConfigError as error:
        trust = unreadable_project(Path.cwd().resolve(), error)
        _say_once(trust.note())
        return trust
    if project is None:
        return None
    trust = add_project(merged, project, user_file(), above=above, with_settings=source is None)
    _say_once(trust.note())
    return trust


def _say_once(note: str) -> None:
    """Log a note once per process."""
    if note and note not in _said:
        _said.add(note)
        _log.warning("%s", note)


def _path_of(source: str | Path) -> Path:
    """Return the path of a source; a bare word is the name of a ready configuration."""
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - leaves an unknown user as it is
    if isinstance(source, Path) or path.suffix or len(path.parts) != 1:
        return path
    known = ready_configurations()
    if source not in known:
        raise ConfigError(
            f"no ready configuration is named {source!r}. {did_you_mean(source, known)} "
            f"For a file of your own, give its path: './{source}.toml'."
        )
    return known[source]


def _explain(key: Key, values: Mapping[str, Any], merged: Merged) -> Explanation:
    entry = keys.find(key)
    if entry is None:
        raise ConfigError(f"there is no configuration key {dotted(key)!r}. {keys.advice(key)}")
    value = None if key in merged.ignored else _value_of(key, values)
    if value is None and key in merged.origins:
        value = _value_of(key, values)
    if isinstance(value, Mapping) and value and key not in merged.origins:
        parts = tuple(_explain((*key, name), values, merged) for name in value)
        origin = merged.origin_near(key)
        return Explanation(dotted(key), redact(value), origin, entry.description, parts=parts)
    origin = merged.origins.get(key, Origin("default"))
    overridden = [item for item in merged.history.get(key, []) if item.origin != origin]
    return Explanation(
        dotted(key),
        redact(value, key[-1]),
        origin,
        entry.description,
        tuple((item.origin, redact(item.value, key[-1])) for item in reversed(overridden)),
        ignored=tuple(
            (item.origin, redact(item.value, key[-1])) for item in merged.ignored.get(key, ())
        ),
    )


def _value_of(key: Key, values: Any) -> Any:
    for length, part in enumerate(key, 1):
        if not isinstance(values, Mapping) or part not in values:
            name = dotted(key[:length])
            raise ConfigError(f"{name!r} is a valid key, but nothing sets it. Set it first.")
        values = values[part]
    return values


def _as_toml(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
