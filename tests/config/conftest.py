"""A machine without any configuration: an empty home, an empty folder to work in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vanta.config import Loaded, load

Load = Callable[..., Loaded]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; the home folder is empty, too."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local" / "share"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def read(work: Path) -> Load:
    """Loads a configuration file with the given text under the given environment variables."""

    def from_text(text: str = "", environ: dict[str, str] | None = None, **more: Any) -> Loaded:
        path = work / "mine.toml"
        path.write_text(text, "utf-8")
        return load(path, environ=environ or {}, **more)

    return from_text
