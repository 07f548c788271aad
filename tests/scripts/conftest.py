"""The fixtures of the tests of `vanta run` and `vanta scripts`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.stage import Stage, set_up


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A plugin on disk, a configuration and an empty data directory."""
    return set_up(tmp_path)
