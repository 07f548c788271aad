"""What commands work with: a configuration, its plugins and models, or an open runtime.

Invariant: loading a setup writes nothing, opens no store and loads no engine.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.cli.options import config_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vanta.api import Opening
    from vanta.cli.terminal.approval import TerminalApproval
    from vanta.config import Config, Loaded, Setting
    from vanta.models import ModelStore
    from vanta.plugin_loading import PluginSet
    from vanta.scheduling import Policy
    from vanta.tools import ApprovalHandler
    from vanta.track import Track


@dataclass(frozen=True)
class Setup:
    """A configuration together with the plugins that it turns on.

    :param loaded: the configuration and the origin of each value.
    :param plugins: the plugins, each on, off or failed.
    """

    loaded: Loaded
    plugins: PluginSet

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.loaded.config

    @property
    def toolsets_in_use(self) -> list[str]:
        """The names of the toolsets that are on: those of `tools.use`, and the MCP servers."""
        return [*self.config.tools.use, *self.plugins.configured_toolsets]

    @functools.cached_property
    def models(self) -> ModelStore:
        """The model registry and the files on disk.

        :raises ConfigError: if the registry cannot be read.
        """
        from vanta.runtime import model_store

        return model_store(self.config, self.plugins)

    def tracks(self) -> tuple[dict[str, Track], dict[str, str]]:
        """Create the engine of every track that is on, without loading it.

        :returns: the tracks by name, and for each other track why it is off. The caller closes
            the engines.
        :raises ConfigError: if an engine's options do not fit.
        :raises UnknownName: if a track names an unknown engine.
        """
        from vanta.runtime import make_tracks

        return make_tracks(self, warn=False)

    def recommended_sampling(self) -> list[Setting]:
        """Return what the models of tracks recommend for the track's sampling, with its source."""
        from vanta.config import Origin, Setting

        settings: list[Setting] = []
        for name, track in self.config.tracks.items():
            factory = self.plugins.engines.get(track.engine)
            if factory and factory.loads_models:
                recommended = self.models.recommended_sampling(track.model)
                origin = Origin("model", recommended.source)
                settings += [
                    Setting(("tracks", name, "sampling", field), value, origin)
                    for field, value in recommended.values().items()
                ]
        return settings

    def policies(self) -> Mapping[str, Policy]:
        """Return the policies by name, with the variants of the configuration.

        :raises ConfigError: if a variant does not fit its base.
        """
        known = self.plugins.policies
        variants = {
            name: variant.to_policy(name, known) for name, variant in self.config.policies.items()
        }
        return {**known, **variants}


def load_setup(source: str | None, *, strict: bool | None = None) -> Setup:
    """Load a configuration and its plugins.

    :param source: the command's own `--config`, or None.
    :param strict: whether a failing plugin is an error; None means as configured.
    :raises ConfigError: if the configuration cannot be read.
    :raises PluginError: if two plugins clash, or one fails under `strict`.
    """
    from vanta import plugin_loading
    from vanta.config import load

    loaded = load(config_source(source))
    chosen = loaded.config.plugins
    plugins = plugin_loading.load(chosen.allow, strict=chosen.strict if strict is None else strict)
    plugins.configure_toolsets(loaded.as_dict(redacted=False))
    return Setup(loaded, plugins)


def named_tools(
    source: str | None, names: str | None
) -> tuple[dict[str, Any] | None, list[str] | None]:
    """Return what `--tools` chooses.

    :param source: the command's own `--config`, or None.
    :param names: names of toolsets and tools, separated by commas; None for the configured ones.
    :returns: values of `tools` in the configuration, which turn the toolsets on, and the names.
    :raises UnknownName: if no toolset has the name.
    """
    if names is None:
        return None, None
    from vanta.errors import UnknownName

    setup = load_setup(source)
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    toolsets = list(dict.fromkeys(name.partition(".")[0] for name in chosen))
    servers = setup.config.mcp.servers
    for name in toolsets:
        if name not in setup.plugins.toolsets and name not in servers:
            raise UnknownName("toolset", name, [*setup.plugins.toolsets, *servers])
    use = [name for name in toolsets if name in setup.plugins.toolsets]
    return {"use": use}, chosen


def open_runtime(
    source: str | None,
    *,
    plugins: tuple[object, ...] = (),
    approval: TerminalApproval | None = None,
    approve: ApprovalHandler | None = None,
    **overrides: Any,
) -> Opening:
    """Return what `vanta.open` returns for the requested configuration: a context manager.

    :param source: the command's own `--config`, or None.
    :param plugins: plugin objects to use in addition to the installed ones.
    :param approval: asks the person at the terminal about prices and calls; None asks no one.
    :param approve: asks about calls instead of the terminal.
    :param overrides: configuration values by key; those that are None are left out.
    """
    import vanta

    chosen = {key: value for key, value in overrides.items() if value is not None}
    return vanta.open(
        config_source(source),
        plugins=plugins,
        approve_unpriced=approval.approve_unpriced if approval else None,
        approve=approve or (approval.approve_call if approval else None),
        **chosen,
    )
