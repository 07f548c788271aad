"""What the listing commands stand on: configuration, plugins and models, without a runtime.

Invariant: nothing is written, no store is opened, no engine is loaded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vanta.cli import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vanta.config import Config, Loaded
    from vanta.models import ModelStore
    from vanta.plugin_loading import PluginSet
    from vanta.scheduling.policy import Policy
    from vanta.track import Track


@dataclass(frozen=True)
class Ground:
    """A configuration and what is installed beside it."""

    loaded: Loaded
    plugins: PluginSet

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.loaded.config

    @functools.cached_property
    def models(self) -> ModelStore:
        """The model registry and the files on disk. Raises ConfigError."""
        from vanta.runtime import model_store

        return model_store(self.config, self.plugins)

    def tracks(self) -> tuple[dict[str, Track], dict[str, str]]:
        """The tracks that are on, and why the others are off. Raises ConfigError, UnknownName.

        Their engines are made, not loaded; close them.
        """
        from vanta.runtime import make_tracks

        return make_tracks(self, warn=False)

    def policies(self) -> Mapping[str, Policy]:
        """The policies by name, variants of the configuration among them. Raises ConfigError."""
        known = self.plugins.policies
        variants = {n: each.to_policy(n, known) for n, each in self.config.policies.items()}
        return {**known, **variants}


def ground(source: str | None, *, strict: bool | None = None) -> Ground:
    """Read the configuration that was asked for and load its plugins.

    strict: whether a plugin that fails is an error; None: as configured. Raises ConfigError,
    PluginError.
    """
    from vanta import plugin_loading as plugins
    from vanta.config import load

    loaded = load(output.config(source))
    told = loaded.config.plugins
    wanted = told.strict if strict is None else strict
    return Ground(loaded, plugins.load(told.allow, strict=wanted))
