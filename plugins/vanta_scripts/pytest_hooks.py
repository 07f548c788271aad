"""The hooks that vanta's pytest plugin adds, for a conftest to implement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vanta import Opening


@pytest.hookspec(firstresult=True)
def pytest_vanta_open(config: pytest.Config, path: Path) -> Callable[[], Opening] | None:
    """Say what the script at `path` runs on: a function that returns `vanta.open(...)`.

    Scripts for which the same function is returned share one runtime, opened once; a script that
    restarts calls it again, so all that it opens must keep conversations in one place. None leaves
    it to the next conftest and in the end to `vanta.open(vanta_config)`.
    """
