"""Opening a runtime whose tracks are scripted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta.engine import Engine
from vanta.testing.scripted import scripted_plugin

if TYPE_CHECKING:
    from vanta.runtime.runtime import Runtime


def open_scripted(data_dir: Path, given: Mapping[str, Any]) -> AbstractAsyncContextManager[Runtime]:
    """A runtime with a track for each engine in `given`; the rest of it is configuration."""
    import vanta

    engines = {name: value for name, value in given.items() if isinstance(value, Engine)}
    rest = {name: value for name, value in given.items() if name not in engines}
    asked = rest.pop("tracks", {})
    tracks = {
        name: {"engine": "scripted", "model": engine.model, **asked.get(name, {})}
        for name, engine in engines.items()
    }
    config = {"data_dir": str(data_dir), **rest, "tracks": tracks}
    return vanta.open(config, plugins=[scripted_plugin(**engines)])
