"""The command line of a user who has nothing but an empty home folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.as_user import Run, user


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs `vanta` with arguments and returns its exit code and output."""
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run
