"""The layers of the configuration: TOML files, environment variables and arguments, merged.

Invariant: for every value it stays known which layer set it and which values the lower layers
held. A layer that gives a track another engine restarts that track: the settings of the old engine
(private or not, prices, options) are not true of the new one. An unreadable or malformed file is a
ConfigError that names it, with line and column if there are any.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from vanta.config.keys import Key, dotted, takes_text
from vanta.errors import ConfigError

PREFIX = "VANTA_"
SOURCE_VARIABLE = "VANTA_CONFIG"
# Tables that are one value: half of one schema laid over half of another is neither.
_WHOLE = frozenset({"json_schema", "logit_bias"})
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a value; it never holds the value itself.

    :param kind: the sort of layer.
    :param where: the file's path, the variable's name or the argument's key; "" for a default.
    :param line: the line in the file, counted from 1, or None.
    """

    kind: Literal["default", "file", "environment", "argument"]
    where: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind == "file":
            return self.where if self.line is None else f"{self.where}:{self.line}"
        if self.kind == "default":
            return "vanta's default"
        return (
            f"{'environment variable' if self.kind == 'environment' else 'argument'} {self.where}"
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with the value that one layer gives it."""

    key: Key
    value: Any
    origin: Origin


@dataclass(slots=True)
class Merged:
    """All layers, merged.

    tree: the effective values. origins: the source of each. history: every setting of a key, from
    the lowest layer to the highest.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    history: dict[Key, list[Setting]] = field(default_factory=dict)

    def add(self, layer: list[Setting]) -> None:
        """Lay one more layer on top."""
        for setting in layer:
            if setting.key[0::2] == ("tracks", "engine") and len(setting.key) == 3:
                self._restart_track(setting)
        for setting in layer:
            self._put(setting)

    def origin_near(self, key: Key) -> Origin:
        """Return the source of `key`, of any key below it, or of the table around it."""
        for length in range(len(key), 0, -1):
            for known, origin in self.origins.items():
                if known[:length] == key[:length]:
                    return origin
        return Origin("default")

    def last_origin(self, table: Key) -> Origin:
        """Return the source of the latest setting in `table`."""
        origins = [origin for key, origin in self.origins.items() if key[: len(table)] == table]
        return origins[-1] if origins else self.origin_near(table)

    def _restart_track(self, setting: Setting) -> None:
        tracks = self.tree.get("tracks")
        track = tracks.get(setting.key[1]) if isinstance(tracks, dict) else None
        if isinstance(track, dict) and track.get("engine", setting.value) != setting.value:
            track.clear()
            self._forget(setting.key[:2])

    def _put(self, setting: Setting) -> None:
        table = self.tree
        for length, part in enumerate(setting.key[:-1], 1):
            child = table.get(part)
            if not isinstance(child, dict):
                self._forget(setting.key[:length])
                child = table[part] = {}
            table = child
        name = setting.key[-1]
        if setting.value == {} and isinstance(table.get(name), dict):
            return
        self._forget(setting.key)
        table[name] = setting.value
        self.origins[setting.key] = setting.origin
        self.history.setdefault(setting.key, []).append(setting)

    def _forget(self, prefix: Key) -> None:
        for key in [key for key in self.origins if key[: len(prefix)] == prefix]:
            del self.origins[key]


def from_file(path: Path) -> list[Setting]:
    """Return the settings of a TOML file. Raises ConfigError."""
    data, text = _read_toml(path)
    lines = lines_of(text)
    return [
        Setting(key, _anchored(path, key, value), Origin("file", str(path), lines.get(key)))
        for key, value in _leaves(data)
    ]


def from_environment(environ: Mapping[str, str]) -> list[Setting]:
    """Return the settings of the VANTA_* variables; empty ones are ignored. Raises ConfigError."""
    return [
        Setting(key, value, Origin("environment", variable))
        for variable in sorted(environ)
        if variable.startswith(PREFIX) and variable != SOURCE_VARIABLE and environ[variable]
        for key, value in _from_variable(variable, environ[variable])
    ]


def from_arguments(arguments: Mapping[str, Any]) -> list[Setting]:
    """Return the settings of a call; None leaves a key as it is."""
    return [
        Setting(key, value, Origin("argument", dotted(key)))
        for key, value in _leaves(arguments)
        if value is not None
    ]


def lines_of(text: str) -> dict[Key, int]:
    """Return the line, counted from 1, of every value and table in valid TOML text.

    The standard parser reports no positions, so the text is parsed again statement by statement.
    """
    lines: dict[Key, int] = {}
    table: Key = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        if not statement:
            start = number
        statement += line + "\n"
        try:
            data = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # the value continues in the next line
        if statement.lstrip().startswith("["):
            table = _header_path(data)
            lines.setdefault(table, start)
        else:
            for key in _paths(data, table):
                lines.setdefault(key, start)
        statement = ""
    return lines


def _leaves(data: Mapping[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every value that is not a table, and every empty table, with its key."""
    for name, item in data.items():
        value = item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item
        key = (*prefix, str(name))
        if isinstance(value, Mapping) and value and name not in _WHOLE:
            yield from _leaves(value, key)
        else:
            yield key, value


def _from_variable(variable: str, raw: str) -> Iterator[tuple[Key, Any]]:
    key = tuple(variable.removeprefix(PREFIX).lower().split("__"))
    if not all(key):
        raise ConfigError(
            f"environment variable {variable} does not name a key of the configuration. Write two "
            "underscores between a table and its key, as in VANTA_TRACKS__LOCAL__MODEL."
        )
    value = raw if takes_text(key) else _parse_value(raw)
    if isinstance(value, dict) and value:
        yield from _leaves(value, key)
    else:
        yield key, value


def _parse_value(raw: str) -> Any:
    """Return `raw` parsed as a TOML value, or the text itself if it is not one."""
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return raw
    return parsed["value"] if len(parsed) == 1 else raw


def _anchored(path: Path, key: Key, value: Any) -> Any:
    """Resolve a folder named in a file against that file, whatever the working directory is."""
    if key == ("data_dir",) and isinstance(value, str) and not value.startswith("~"):
        return str(path.absolute().parent / value)
    return value


def _read_toml(path: Path) -> tuple[dict[str, Any], str]:
    text = _read_text(path)
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        last_line = text.count("\n") + 1
        at = f":{position[1]}:{position[2]}" if position and position[1] else f":{last_line}"
        reason = _POSITION.sub("", str(error))
        raise ConfigError(f"{path}{at}: this is not valid TOML: {reason}. Fix the line.") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {str(path)!r}. Create it, or name another one."
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"{str(path)!r} is a folder, not a configuration file. Name a file in it."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: this is not UTF-8 text (byte {error.start}). Save the file as UTF-8."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the configuration file {str(path)!r} cannot be read: {error.strerror}. "
            "Check its permissions."
        ) from None


def _header_path(data: Any) -> Key:
    """Return the path of a table header that was parsed alone: `[a.b]` and `[[a.b]]` give a, b."""
    path: Key = ()
    while isinstance(data, dict) and data:
        name, data = next(iter(data.items()))
        path += (name,)
    return path


def _paths(data: Any, prefix: Key) -> list[Key]:
    if not isinstance(data, dict):
        return [prefix]
    here = [prefix] if prefix else []
    return here + [path for key, value in data.items() for path in _paths(value, (*prefix, key))]
