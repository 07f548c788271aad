"""The pytest plugin that collects `*.vanta.yaml` files, a test a turn.

Invariant: loading it imports nothing but pytest; see `vanta_scripts.pytest_plugin` for the tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_SCRIPTS = (".vanta.yaml", ".vanta.yml")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The configuration that scripts run on."""
    parser.addini("vanta_config", "what *.vanta.yaml run on: a TOML file or a ready one's name")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """The hook by which a conftest opens runtimes for scripts."""
    from vanta_scripts import pytest_hooks

    pluginmanager.add_hookspecs(pytest_hooks)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scripts are tests."""
    if not file_path.name.endswith(_SCRIPTS):
        return None
    from vanta_scripts.pytest_plugin import ScriptFile

    return ScriptFile.from_parent(parent, path=file_path)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what scripts ran on, if there were any."""
    import sys

    collected = sys.modules.get("vanta_scripts.pytest_plugin")
    if collected is not None:
        collected.close_runtimes(config)
