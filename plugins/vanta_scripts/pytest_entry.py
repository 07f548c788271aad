"""The pytest plugin that collects `*.vanta.yaml` files, with one test for each turn.

Invariant: loading it imports nothing but pytest; `vanta_scripts.pytest_plugin` has the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vanta import Opening

_SUFFIXES = (".vanta.yaml", ".vanta.yml")


class ScriptHooks:
    """The hook that a conftest may implement."""

    @pytest.hookspec(firstresult=True)
    def pytest_vanta_open(self, config: pytest.Config, path: Path) -> Callable[[], Opening] | None:
        """Return a function that opens the runtime for a script, such as `vanta.open` bound.

        Scripts for which the same function is returned share one runtime, opened once. A script
        that restarts calls the function again, so all runtimes that it opens must share one store.
        None leaves the choice to the next conftest and finally to `vanta.open(vanta_config)`.

        :param config: pytest's configuration.
        :param path: the script's file.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option that configures the runtime of scripts."""
    parser.addini(
        "vanta_config", "configuration of *.vanta.yaml: a TOML file or the name of a ready one"
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hook `pytest_vanta_open`."""
    pluginmanager.add_hookspecs(ScriptHooks)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a script."""
    if not file_path.name.endswith(_SUFFIXES):
        return None
    from vanta_scripts.pytest_plugin import ScriptFile

    return ScriptFile.from_parent(parent, path=file_path)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the runtimes of scripts, if any script was collected."""
    plugin = sys.modules.get("vanta_scripts.pytest_plugin")
    if plugin is not None:
        plugin.close_runtimes(config)
