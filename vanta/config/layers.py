"""The layers of the configuration: TOML files, environment variables and arguments, merged.

Invariant: for every value it stays known which layer set it and which values the lower layers
held. A layer that gives a track another engine restarts that track: the settings of the old engine
(private or not, prices, options) are not true of the new one. An unreadable or malformed file is a
ConfigError that names it, with line and column if there are any.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from vanta.config.keys import Key, dotted, takes_text
from vanta.config.toml_lines import TooDeep, lines_of, statements
from vanta.errors import ConfigError
from vanta.files import parse_toml, read_file
from vanta.text import make_well_formed

PREFIX = "VANTA_"
SOURCE_VARIABLE = "VANTA_CONFIG"
_NOT_KEYS = frozenset({SOURCE_VARIABLE, "VANTA_BENCH_DATA"})
"""Variables of that prefix which set no key: the file to read, and the data of the benchmarks."""
MAX_FILE_BYTES = 1 << 20
# Tables that are one value: half of one schema laid over half of another is neither.
_WHOLE = frozenset({"json_schema", "logit_bias"})
_MCP_SERVERS = ("mcp", "servers")
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a value; it never holds the value itself.

    :param kind: the sort of layer.
    :param where: the file's path, the variable's name, the argument's key, or what a model
        recommends; "" for a default.
    :param line: the line in the file, counted from 1, or None.
    """

    kind: Literal["default", "model", "file", "environment", "argument"]
    where: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind == "file":
            return self.where if self.line is None else f"{self.where}:{self.line}"
        if self.kind == "default":
            return "vanta's default"
        if self.kind == "model":
            return self.where
        return (
            f"{'environment variable' if self.kind == 'environment' else 'argument'} {self.where}"
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with the value that one layer gives it.

    Text is well-formed; `data_dir` keeps the undecodable bytes that a path may have.
    """

    key: Key
    value: Any
    origin: Origin

    def __post_init__(self) -> None:
        if self.key != ("data_dir",):
            make_well_formed(self, "value")


@dataclass(slots=True)
class Merged:
    """All layers, merged.

    tree: the effective values. origins: the source of each. history: every setting of a key, from
    the lowest layer to the highest. ignored: settings of a project that do not count.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    history: dict[Key, list[Setting]] = field(default_factory=dict)
    ignored: dict[Key, list[Setting]] = field(default_factory=dict)

    def add(self, layer: list[Setting]) -> None:
        """Lay one more layer on top."""
        for setting in layer:
            if setting.key[0::2] == ("tracks", "engine") and len(setting.key) == 3:
                self._restart_track(setting)
            elif len(setting.key) == 4 and setting.key[:2] == _MCP_SERVERS:
                self._restart_server(setting)
        for setting in layer:
            self._put(setting)

    def value(self, key: Key) -> Any:
        """Return the effective value of `key`, or None if no layer sets it."""
        value: Any = self.tree
        for part in key:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def drop(self, table: Key, names: re.Pattern[str]) -> None:
        """Remove the settings of a table whose name matches, as if no layer had set them."""
        values = self.value(table)
        for name in [name for name in values or () if names.search(name)]:
            del values[name]
            self._forget((*table, name))

    def over(self, settings: Sequence[Setting]) -> Merged:
        """Return these layers with `settings` as the lowest one; `tree` stays as it is."""
        origins, history = dict(self.origins), dict(self.history)
        for setting in settings:
            origins.setdefault(setting.key, setting.origin)
            history[setting.key] = [setting, *history.get(setting.key, [])]
        return Merged(self.tree, origins, history, self.ignored)

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

    def _restart_server(self, setting: Setting) -> None:
        """Forget what lower layers set for an MCP server that is now another one.

        Its headers, variables and promises were meant for the server at the former address.
        """
        server = self.value(setting.key[:3])
        if setting.key[3] not in {"command", "url"} or not isinstance(server, dict):
            return
        if server.get(setting.key[3]) != setting.value:
            server.clear()
            self._forget(setting.key[:3])

    def _put(self, setting: Setting) -> None:
        table = self.tree
        for length, part in enumerate(setting.key[:-1], 1):
            child = table.get(part)
            if not isinstance(child, dict):
                self.origins.pop(setting.key[:length], None)
                child = table[part] = {}
            table = child
        name = setting.key[-1]
        if setting.value == {} and isinstance(table.get(name), dict):
            return
        if isinstance(table.get(name), dict):
            self._forget(setting.key)
        self.origins.pop(setting.key, None)  # the latest setting stands last
        table[name] = setting.value
        self.origins[setting.key] = setting.origin
        self.history.setdefault(setting.key, []).append(setting)

    def _forget(self, prefix: Key) -> None:
        for key in [key for key in self.origins if key[: len(prefix)] == prefix]:
            del self.origins[key]


def from_file(path: Path) -> list[Setting]:
    """Return the settings of a TOML file. Raises ConfigError."""
    return from_text(path, _read_text(path))


def from_text(path: Path, text: str, most: int | None = None) -> list[Setting]:
    """Return the settings of a TOML text that was read from `path`. Raises ConfigError.

    most: the number of settings that it may have; None for any number.
    """
    data = _parse(path, text)
    if most is not None and any(True for _ in itertools.islice(_leaves(data), most, None)):
        raise ConfigError(f"{path}: it has more than {most} settings. Remove some.")
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
        if variable.startswith(PREFIX) and variable not in _NOT_KEYS and environ[variable]
        for key, value in _from_variable(variable, environ[variable])
    ]


def from_arguments(arguments: Mapping[str, Any]) -> list[Setting]:
    """Return the settings of a call; None leaves a key as it is."""
    return [
        Setting(key, value, Origin("argument", dotted(key)))
        for key, value in _leaves(arguments)
        if value is not None
    ]


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
        for _statement in statements(raw):
            pass
        parsed = parse_toml(f"value = {raw}")
    except ValueError:
        return raw
    return parsed["value"] if len(parsed) == 1 else raw


def _anchored(path: Path, key: Key, value: Any) -> Any:
    """Resolve a folder named in a file against that file, whatever the working directory is."""
    if key == ("data_dir",) and isinstance(value, str) and not value.startswith("~"):
        return str(path.absolute().parent / value)
    return value


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        for _statement in statements(text):
            pass  # a text that is nested too deeply would take the parser minutes
        return parse_toml(text)
    except TooDeep as error:
        raise ConfigError(f"{path}:{error.line}: {error}. Write it flatter.") from None
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        last_line = text.count("\n") + 1
        at = f":{position[1]}:{position[2]}" if position and position[1] else f":{last_line}"
        reason = _POSITION.sub("", str(error))
        raise ConfigError(f"{path}{at}: this is not valid TOML: {reason}. Fix the line.") from None
    except ValueError as error:
        raise ConfigError(
            f"{path}:{_line_of_fault(text)}: this is not a value that vanta can read: {error}. "
            "Fix the line."
        ) from None


def _line_of_fault(text: str) -> int:
    """Return the line of the first statement that cannot be parsed by itself."""
    for statement in statements(text):
        try:
            parse_toml(statement.text)
        except ValueError:
            return statement.line
    return 1


def _read_text(path: Path) -> str:
    try:
        return decode(path, read_file(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {str(path)!r}. Create it, or name another one."
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"{str(path)!r} is a folder, not a configuration file. Name a file in it."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the configuration file {str(path)!r} cannot be read: {error.strerror}. "
            "Check the path and its permissions."
        ) from None


def decode(path: Path, content: bytes) -> str:
    """Return the text of a configuration file; line ends become `\\n`. Raises ConfigError."""
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: this is not UTF-8 text (byte {error.start}). Save the file as UTF-8."
        ) from None
