"""All plugins of a runtime and what they brought, each object with its origin.

Invariant: the registries hold what the plugins that are on brought, and vanta's own policies and
gates, in the order in which the plugins were loaded; nothing of a failed plugin is in them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta.errors import PluginError
from vanta.plugin_loading.contract import SORTS
from vanta.plugin_loading.live import Isolated, LivePlugin
from vanta.plugin_loading.plugin import CORE, Plugin
from vanta.plugin_loading.registry import Registry
from vanta.scheduling.gate import SignalsGate
from vanta.scheduling.policy import BUILTIN

if TYPE_CHECKING:
    from vanta.diagnosis import Check
    from vanta.engine import EngineFactory
    from vanta.expectations import Expectation
    from vanta.memory.embedder import EmbedderFactory
    from vanta.memory.index import IndexFactory
    from vanta.models import ModelEntry, ModelSource
    from vanta.privacy import Detector
    from vanta.runtime.background import Companion
    from vanta.runtime.runtime import Observer
    from vanta.scheduling.gate import Gate
    from vanta.scheduling.policy import Policy

_log = logging.getLogger("vanta.plugins")


class PluginSet:
    """What `load` found. The registries are mappings from a name to the object with that name."""

    def __init__(self, live: Sequence[LivePlugin], *, strict: bool = False) -> None:
        """Raises PluginError for two objects with one name."""
        self._live = tuple(live)
        self._strict = strict
        self._gather()

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin: on, off or failed; vanta's own first, then by name."""
        return tuple(one.plugin for one in self._live)

    @property
    def engines(self) -> Registry[EngineFactory]:
        """Engines, by their name."""
        return self._registries["vanta_engines"]

    @property
    def models(self) -> Registry[ModelEntry]:
        """Entries for the model registry, by id."""
        return self._registries["vanta_models"]

    @property
    def sources(self) -> Registry[ModelSource]:
        """Model sources, by scheme."""
        return self._registries["vanta_model_sources"]

    @property
    def embedders(self) -> Registry[EmbedderFactory]:
        """Embedders for memory, by their name."""
        return self._registries["vanta_embedders"]

    @property
    def vector_indexes(self) -> Registry[IndexFactory]:
        """Vector indexes for memory, by their name."""
        return self._registries["vanta_vector_indexes"]

    @property
    def policies(self) -> Registry[Policy]:
        """Policies, vanta's own among them, by name."""
        return self._registries["vanta_policies"]

    @property
    def gates(self) -> Registry[Gate]:
        """Gates, vanta's own among them, by name."""
        return self._registries["vanta_gates"]

    @property
    def detectors(self) -> Registry[Detector]:
        """Detectors of what makes a turn private, by name."""
        return self._registries["vanta_detectors"]

    @property
    def expectations(self) -> Registry[Expectation]:
        """Expectations for scripts, by key."""
        return self._registries["vanta_expectations"]

    @property
    def checks(self) -> Registry[Check]:
        """Checks for `vanta doctor`, by name."""
        return self._registries["vanta_checks"]

    @property
    def companions(self) -> Registry[Companion]:
        """Companions, which work in the background, by name."""
        return self._registries["vanta_companions"]

    @property
    def commands(self) -> Registry[Any]:
        """Commands for the command line (`typer.Typer`), by name."""
        return self._registries["vanta_commands"]

    @property
    def template_dirs(self) -> tuple[Path, ...]:
        """Folders of templates, in the order in which they are searched."""
        return tuple(Path(folder) for folder in self._registries["vanta_templates"])

    def observers(self, config: Mapping[str, Any]) -> tuple[Observer, ...]:
        """The observers that the plugins make for this configuration; asked once a runtime.

        A plugin that raises here is isolated as everywhere: all that it brought goes, so ask
        before anything else is taken from the set. Raises PluginError if it is strict.
        """
        found = [item for one in self._live for item in self._observers_of(one, config)]
        self._gather()
        return tuple(found)

    def advice(self) -> str:
        """For the message on an unknown name: what is not on could be what brings it; else ""."""
        idle = [f"{one.name!r} ({one.status})" for one in self.plugins if one.status != "on"]
        if not idle:
            return ""
        return f"Plugins that are not on: {', '.join(idle)}; `vanta plugins list` says why."

    def describe(self) -> list[dict[str, Any]]:
        """Every plugin as JSON-ready data; `brings` names what each one brought, by hook."""
        return [
            {
                **dataclasses.asdict(one.plugin),
                "hooks": list(one.plugin.hooks),
                "brings": _names(one),
            }
            for one in self._live
        ]

    def _observers_of(self, one: LivePlugin, config: Mapping[str, Any]) -> list[Observer]:
        if "vanta_observers" not in one.plugin.hooks or one.plugin.status != "on":
            return []
        try:
            return [item for _name, item in one.call("vanta_observers", config=config)]
        except Isolated as failure:
            if self._strict:
                raise PluginError(f"plugin {one.plugin} failed: {failure}.") from failure.cause
            _log.warning("plugin %s is off: %s", one.plugin, failure)
            return []

    def _gather(self) -> None:
        self._registries: dict[str, Registry[Any]] = {
            hook: Registry(sort.what, self.advice) for hook, sort in SORTS.items()
        }
        for policy in BUILTIN:
            self._registries["vanta_policies"].add(policy.name, policy, CORE)
        self._registries["vanta_gates"].add(SignalsGate.name, SignalsGate(), CORE)
        for one in self._live:
            for hook, brought in one.brought.items():
                if hook != "vanta_observers":
                    for name, item in brought:
                        self._registries[hook].add(name, item, one.plugin)


def _names(one: LivePlugin) -> dict[str, list[str]]:
    return {hook: [name for name, _ in brought] for hook, brought in one.brought.items()}
