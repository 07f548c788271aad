"""Runtimes for tests: a data directory, and tracks on scripted engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vanta
from vanta.api import Opening
from vanta.testing import ScriptedEngine, scripted_plugin


def open_scripted(
    data_dir: Path, *, private: tuple[str, ...] = ("local",), **given: Any
) -> Opening:
    """Return `vanta.open` on scripted engines: keyword arguments that are engines become tracks.

    Turns wait for memory, however slow the machine, unless `config` has another time-out.
    """
    engines = {name: value for name, value in given.items() if isinstance(value, ScriptedEngine)}
    rest = {name: value for name, value in given.items() if name not in engines}
    tracks: dict[str, Any] = {
        name: {"engine": "scripted", "model": "scripted-1", "private": name in private}
        for name in engines
    }
    for name in {"local", "api"} - set(engines):
        tracks[name] = {"enabled": False}
    tables = rest.pop("config", {})
    for name, table in tables.pop("tracks", {}).items():
        tracks[name].update(table)
    memory = {"recall_timeout_s": 30.0, **tables.get("memory", {})}
    config = {"tracks": tracks, "data_dir": str(data_dir), **tables, "memory": memory}
    plugins = [scripted_plugin(**engines), *rest.pop("plugins", ())]
    return vanta.open(config, plugins=plugins, **rest)
