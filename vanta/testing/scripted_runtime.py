"""Runtimes whose tracks are scripted engines.

Invariant: the runtime is a real one, opened by `vanta.open`; only its engines are scripted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from vanta.engine import Engine, EngineContext, EngineFactory
from vanta.errors import UnknownName
from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.runtime import Runtime


class AnyOptions(BaseModel):
    """Options of the scripted engine: anything is accepted and ignored."""

    model_config = ConfigDict(extra="allow")


class ScriptedPlugin:
    """A plugin whose engine `scripted` is, for each track, the engine passed under its name."""

    name = "scripted"

    def __init__(self, engines: dict[str, Engine]) -> None:
        self.engines = engines

    @hookimpl
    def vanta_engines(self) -> Iterable[EngineFactory]:
        """Return the factory of `scripted`."""
        return (EngineFactory("scripted", "follows a script", AnyOptions, self._create),)

    def _create(self, _options: Any, context: EngineContext) -> Engine:
        try:
            return self.engines[context.track]
        except KeyError:
            raise UnknownName("scripted engine", context.track, self.engines) from None


def scripted_plugin(**engines: Engine) -> ScriptedPlugin:
    """Return a plugin for `vanta.open(..., plugins=[scripted_plugin(local=..., api=...)])`.

    :param engines: the engine of each track whose configuration says `engine = "scripted"`, by
        the track's name.
    """
    return ScriptedPlugin(engines)


def open_scripted(
    data_dir: Path, settings: Mapping[str, Any]
) -> AbstractAsyncContextManager[Runtime]:
    """Open a runtime whose tracks are scripted.

    :param data_dir: folder of the runtime's data.
    :param settings: every value that is an engine becomes a track of its key's name; `own_tools`
        and `approve` are those of `vanta.open`; the others are configuration.
    :returns: the context of the runtime.
    """
    import vanta

    engines = {name: value for name, value in settings.items() if isinstance(value, Engine)}
    rest = {name: value for name, value in settings.items() if name not in engines}
    own_tools, approve = rest.pop("own_tools", ()), rest.pop("approve", None)
    configured = rest.pop("tracks", {})
    tracks = {
        name: {"engine": "scripted", "model": engine.model, **configured.get(name, {})}
        for name, engine in engines.items()
    }
    config = {"data_dir": str(data_dir), **rest, "tracks": tracks}
    plugins = [scripted_plugin(**engines)]
    return vanta.open(config, plugins=plugins, own_tools=own_tools, approve=approve)
