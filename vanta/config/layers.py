"""The layers of the configuration and how they are laid over one another.

Invariant: of every value it stays known which layer set it and what the layers below had said. A
layer that gives a track another engine starts that track anew: what was said of the old engine
(private or not, prices, options) is not true of the new one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vanta.config import toml_file
from vanta.config.origin import Key, Origin, dotted
from vanta.config.walk import takes_text
from vanta.errors import ConfigError

PREFIX = "VANTA_"
SOURCE_VARIABLE = "VANTA_CONFIG"
TESTING_PREFIX = "VANTA_TEST_"  # what vanta's own test fixtures read; no part of the configuration
# Tables that are one value: half of one schema laid over half of another is neither.
_WHOLE = frozenset({"json_schema", "logit_bias"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One layer's word on one key."""

    key: Key
    value: Any
    origin: Origin


@dataclass(slots=True)
class Merged:
    """All layers laid over one another.

    tree: the values that count. origins: where each came from. history: every setting of a key,
    lowest layer first.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    history: dict[Key, list[Setting]] = field(default_factory=dict)

    def lay(self, layer: list[Setting]) -> None:
        """Lay one more layer on top."""
        for setting in layer:
            if setting.key[0::2] == ("tracks", "engine") and len(setting.key) == 3:
                self._restart_track(setting)
        for setting in layer:
            self._put(setting)

    def origin_near(self, key: Key) -> Origin:
        """Where `key` came from, or anything below it, or the table that it stands in."""
        for length in range(len(key), 0, -1):
            for known, origin in self.origins.items():
                if known[:length] == key[:length]:
                    return origin
        return Origin("default")

    def last_origin(self, table: Key) -> Origin:
        """Where the word on `table` that was laid last came from."""
        said = [at for key, at in self.origins.items() if key[: len(table)] == table]
        return said[-1] if said else self.origin_near(table)

    def _restart_track(self, setting: Setting) -> None:
        tracks = self.tree.get("tracks")
        track = tracks.get(setting.key[1]) if isinstance(tracks, dict) else None
        if isinstance(track, dict) and track.get("engine", setting.value) != setting.value:
            track.clear()
            self._forget(setting.key[:2])

    def _put(self, setting: Setting) -> None:
        table = self.tree
        for length, part in enumerate(setting.key[:-1], 1):
            below = table.get(part)
            if not isinstance(below, dict):
                self._forget(setting.key[:length])
                below = table[part] = {}
            table = below
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
    """What a TOML file says. Raises ConfigError."""
    data, text = toml_file.read(path)
    lines = toml_file.lines_of(text)
    return [
        Setting(key, _from_folder(path, key, value), Origin("file", str(path), lines.get(key)))
        for key, value in leaves(data)
    ]


def from_environment(environ: Mapping[str, str]) -> list[Setting]:
    """What the VANTA_* variables say; an empty one says nothing. Raises ConfigError."""
    return [
        Setting(key, value, Origin("environment", variable))
        for variable in sorted(environ)
        if _is_setting(variable) and environ[variable]
        for key, value in _from_variable(variable, environ[variable])
    ]


def from_arguments(arguments: Mapping[str, Any]) -> list[Setting]:
    """What a caller says; None says nothing."""
    return [
        Setting(key, value, Origin("argument", dotted(key)))
        for key, value in leaves(arguments)
        if value is not None
    ]


def leaves(data: Mapping[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is no table, and every empty table, with its key."""
    for name, item in data.items():
        value = item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item
        key = (*prefix, str(name))
        if isinstance(value, Mapping) and value and name not in _WHOLE:
            yield from leaves(value, key)
        else:
            yield key, value


def _is_setting(variable: str) -> bool:
    reserved = variable == SOURCE_VARIABLE or variable.startswith(TESTING_PREFIX)
    return variable.startswith(PREFIX) and not reserved


def _from_variable(variable: str, raw: str) -> Iterator[tuple[Key, Any]]:
    key = tuple(variable.removeprefix(PREFIX).lower().split("__"))
    if not all(key):
        raise ConfigError(
            f"environment variable {variable} is no key of vanta's: write two underscores between "
            "a table and its key, as in VANTA_TRACKS__LOCAL__MODEL."
        )
    value = raw if takes_text(key) else _parsed(raw)
    if isinstance(value, dict) and value:
        yield from leaves(value, key)
    else:
        yield key, value


def _parsed(raw: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return raw
    return parsed["value"] if len(parsed) == 1 else raw


def _from_folder(path: Path, key: Key, value: Any) -> Any:
    """A folder named in a file is relative to that file, wherever vanta is started."""
    if key == ("data_dir",) and isinstance(value, str) and not value.startswith("~"):
        return str(path.absolute().parent / value)
    return value
