"""The fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.as_user import Run, user
from tests.cli.stage import Stage, set_up


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A plugin on disk, a configuration and an empty data directory."""
    return set_up(tmp_path)


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """A way to run `vanta` in this process, for a user who has nothing but `tmp_path`."""
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run
