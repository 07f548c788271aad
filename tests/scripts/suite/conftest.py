"""Opens what the scripts of this folder run on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

import vanta
from tests.scripts.suite.stage import opening
from vanta.models import ModelStore, default_root
from vanta.runtime import Opening

REAL = Path(__file__).parent / "real"


@functools.cache
def _opening(folder: Path, *, real: bool) -> Callable[[], Opening]:
    return functools.partial(_open_real, folder) if real else opening(folder)


def _open_real(folder: Path) -> Opening:
    """The small model on the local track, and no api but stand-ins."""
    model = ModelStore(default_root()).pull("smollm2-135m-instruct").path
    tracks = {"local": {"model": str(model)}, "api": {"enabled": False}}
    return vanta.open("default", data_dir=str(folder), stall_timeout_s=60, tracks=tracks)


def pytest_vanta_open(config: pytest.Config, path: Path) -> Callable[[], Opening]:
    """The scripted engine, or the real one for what stands in `real`."""
    temporary = config._tmp_path_factory.mktemp  # type: ignore[attr-defined]
    real = REAL in path.parents
    if not hasattr(config, f"_suite_{real}"):
        setattr(config, f"_suite_{real}", temporary("suite", numbered=True))
    return _opening(getattr(config, f"_suite_{real}"), real=real)
