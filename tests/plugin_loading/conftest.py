"""A folder of installed distributions, as pip would have left them there."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest


class Site:
    """Distributions on the import path, each with one plugin."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.modules: list[str] = []

    def install(
        self, plugin: str, source: str, *, distribution: str = "", version: str = "1.0"
    ) -> str:
        """Install a plugin; returns the name of its module."""
        distribution = distribution or f"some-{plugin}"
        module = f"{distribution}_{plugin}".replace("-", "_")
        header = "from vanta.hookspecs import hookimpl\n"
        path = self._folder / f"{module}.py"
        path.write_text(header + textwrap.dedent(source), "utf-8")
        info = self._folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", "utf-8"
        )
        with info.joinpath("entry_points.txt").open("a", encoding="utf-8") as points:
            points.write(f"[vanta]\n{plugin} = {module}\n" if points.tell() == 0 else "")
        self.modules.append(module)
        importlib.invalidate_caches()
        return module

    @property
    def entry_points(self) -> list[metadata.EntryPoint]:
        """What the distributions of this folder offer."""
        found = metadata.distributions(path=[str(self._folder)])
        return [point for dist in found for point in dist.entry_points if point.group == "vanta"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder of distributions that is on the import path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    found = Site(folder)
    yield found
    for module in found.modules:
        sys.modules.pop(module, None)
