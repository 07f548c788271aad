"""Reads a TOML file, and says in which line each of its keys stands.

Invariant: whatever is wrong with the file is a ConfigError that names it, with line and column
where there is one. The standard parser tells no positions; `lines_of` finds them by parsing the
file once more, statement by statement.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from vanta.config.origin import Key
from vanta.errors import ConfigError

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def read(path: Path) -> tuple[dict[str, Any], str]:
    """The file's data and its text. Raises ConfigError."""
    text = _text(path)
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        at = f":{place[1]}:{place[2]}" if place and place[1] else f":{text.count(chr(10)) + 1}"
        what = _PLACE.sub("", str(error))
        raise ConfigError(f"{path}{at}: this is not TOML: {what}. Mend the line.") from None


def lines_of(text: str) -> dict[Key, int]:
    """Key -> line, from 1, for every value and table of a text that is valid TOML."""
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
            continue  # a value that goes on in the next line
        if statement.lstrip().startswith("["):
            table = _only_path(data)
            lines.setdefault(table, start)
        else:
            for key in _paths(data, table):
                lines.setdefault(key, start)
        statement = ""
    return lines


def _text(path: Path) -> str:
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
            f"{path}: this is not a text in UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the configuration file {str(path)!r} cannot be read: {error.strerror}. "
            "Check its permissions."
        ) from None


def _only_path(data: Any) -> Key:
    """The path of a table header that was parsed alone: `[a.b]` and `[[a.b]]` both give a, b."""
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
