"""All plugins of a runtime and their contributions, each object with its origin.

Invariant: the registries hold the objects of the plugins that are on and vanta's own policies and
gates, in the order in which the plugins were loaded, and no object of a failed plugin.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta.errors import PluginError
from vanta.installation import library_hint
from vanta.plugin_loading.hooks import CONTRACTS, Isolated, LivePlugin, Named
from vanta.plugin_loading.registry import CORE, Plugin, Registry
from vanta.scheduling.gate import SignalsGate
from vanta.scheduling.policy import BUILTIN

if TYPE_CHECKING:
    from vanta.check import Check
    from vanta.companion import Companion
    from vanta.engine import EngineFactory
    from vanta.events import Observer
    from vanta.expectations import Expectation
    from vanta.memory import EmbedderFactory, IndexFactory
    from vanta.models import ModelEntry, ModelSource
    from vanta.privacy import Detector
    from vanta.scheduling.gate import Gate
    from vanta.scheduling.policy import Policy
    from vanta.tool_contract import ToolsetFactory

_CONFIGURED = "vanta_configured_toolsets"
_log = logging.getLogger("vanta.plugins")


class PluginSet:
    """The loaded plugins; each registry maps names to the contributed objects.

    :raises PluginError: if two objects of one kind have one name.
    """

    def __init__(self, live: Sequence[LivePlugin], *, strict: bool = False) -> None:
        self._live = tuple(live)
        self._strict = strict
        self._gather()

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin: on, off or failed; vanta's own first, then by name."""
        return tuple(item.plugin for item in self._live)

    @property
    def engines(self) -> Registry[EngineFactory]:
        """Engines by name."""
        return self._registries["vanta_engines"]

    @property
    def models(self) -> Registry[ModelEntry]:
        """Entries of the model registry by id."""
        return self._registries["vanta_models"]

    @property
    def sources(self) -> Registry[ModelSource]:
        """Model sources by scheme."""
        return self._registries["vanta_model_sources"]

    @property
    def toolsets(self) -> Registry[ToolsetFactory]:
        """Toolsets by name."""
        return self._registries["vanta_toolsets"]

    @property
    def embedders(self) -> Registry[EmbedderFactory]:
        """Embedders for memory by name."""
        return self._registries["vanta_embedders"]

    @property
    def vector_indexes(self) -> Registry[IndexFactory]:
        """Vector indexes for memory by name."""
        return self._registries["vanta_vector_indexes"]

    @property
    def policies(self) -> Registry[Policy]:
        """Policies by name, vanta's own included."""
        return self._registries["vanta_policies"]

    @property
    def gates(self) -> Registry[Gate]:
        """Gates by name, vanta's own included."""
        return self._registries["vanta_gates"]

    @property
    def detectors(self) -> Registry[Detector]:
        """Privacy detectors by name."""
        return self._registries["vanta_detectors"]

    @property
    def expectations(self) -> Registry[Expectation]:
        """Expectations for scripts by key."""
        return self._registries["vanta_expectations"]

    @property
    def checks(self) -> Registry[Check]:
        """Checks for `vanta doctor` by name."""
        return self._registries["vanta_checks"]

    @property
    def companions(self) -> Registry[Companion]:
        """Companions (background work) by name."""
        return self._registries["vanta_companions"]

    @property
    def commands(self) -> Registry[Any]:
        """Commands for the command line by name."""
        return self._registries["vanta_commands"]

    @property
    def template_dirs(self) -> tuple[Path, ...]:
        """Template folders in search order."""
        return tuple(Path(folder) for folder in self._registries["vanta_templates"])

    def observers(self, config: Mapping[str, Any]) -> tuple[Observer, ...]:
        """Create the observers of all plugins; call it once for each runtime.

        A plugin that raises here is isolated and loses all its contributions, so call this before
        reading the registries.

        :param config: the effective configuration as JSON-ready data, without secrets.
        :returns: callables that take an event.
        :raises PluginError: if the set is strict and a plugin fails.
        """
        observers = [
            item
            for live in self._live
            for _name, item in self._called(live, "vanta_observers", config)
        ]
        self._gather()
        return tuple(observers)

    @property
    def configured_toolsets(self) -> tuple[str, ...]:
        """Names of the toolsets that the configuration describes, which are on."""
        return tuple(
            name
            for live in self._live
            for name, item in live.contributions.get(_CONFIGURED, ())
            if self.toolsets.get(name) is item
        )

    def configure_toolsets(self, config: Mapping[str, Any]) -> None:
        """Add the toolsets that the configuration describes; call it once for each runtime.

        One that has the name of another toolset is left out, which is logged.

        :param config: the effective configuration as JSON-ready data.
        :raises PluginError: if the set is strict and a plugin fails.
        """
        for live in self._live:
            self._called(live, _CONFIGURED, config)
        self._gather()

    def library_hint(
        self, factory: EngineFactory | EmbedderFactory | IndexFactory | ToolsetFactory
    ) -> str:
        """Return the pip command that installs the library which a factory requires."""
        for registry in (self.engines, self.embedders, self.vector_indexes, self.toolsets):
            if registry.get(factory.name) is factory:
                return library_hint(factory, registry.plugin(factory.name).distribution)
        return library_hint(factory, "")

    def advice(self) -> str:
        """Return a sentence for messages on unknown names.

        :returns: the plugins that are not on and might provide the name, or "" if all are on.
        """
        idle = [f"{item.name!r} ({item.status})" for item in self.plugins if item.status != "on"]
        if not idle:
            return ""
        return f"Plugins that are not on: {', '.join(idle)}; `vanta plugins list` shows why."

    def describe(self) -> list[dict[str, Any]]:
        """Return every plugin as JSON-ready data.

        :returns: the fields of `Plugin`, and `brings`: hook -> names of the contributed objects.
        """
        return [
            {
                **dataclasses.asdict(live.plugin),
                "hooks": list(live.plugin.hooks),
                "brings": _names(live),
            }
            for live in self._live
        ]

    def _called(self, live: LivePlugin, hook: str, config: Mapping[str, Any]) -> Sequence[Named]:
        """Return what a hook that takes the configuration gives, () if its plugin fails."""
        if hook not in live.plugin.hooks or live.plugin.status != "on":
            return ()
        try:
            return live.call(hook, config=config)
        except Isolated as failure:
            if self._strict:
                raise PluginError(f"plugin {live.plugin} failed: {failure}") from failure.cause
            _log.warning("plugin %s is off: %s", live.plugin, failure)
            return ()

    def _gather(self) -> None:
        self._registries: dict[str, Registry[Any]] = {
            hook: Registry(contract.kind, self.advice) for hook, contract in CONTRACTS.items()
        }
        for policy in BUILTIN:
            self._registries["vanta_policies"].add(policy.name, policy, CORE)
        self._registries["vanta_gates"].add(SignalsGate.name, SignalsGate(), CORE)
        for live in self._live:
            for hook, objects in live.contributions.items():
                if hook not in {"vanta_observers", _CONFIGURED}:
                    for name, item in objects:
                        self._registries[hook].add(name, item, live.plugin)
        for live in self._live:
            for name, item in live.contributions.get(_CONFIGURED, ()):
                self._add_configured(name, item, live.plugin)

    def _add_configured(self, name: str, item: ToolsetFactory, plugin: Plugin) -> None:
        if name in self.toolsets:
            _log.warning(
                "the configured toolset %r is off: plugin %s has one of this name. Rename yours.",
                name,
                self.toolsets.origin(name),
            )
        else:
            self.toolsets.add(name, item, plugin)


def _names(live: LivePlugin) -> dict[str, list[str]]:
    return {hook: [name for name, _ in objects] for hook, objects in live.contributions.items()}
