"""Opens the runtimes of this folder's scripts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

import vanta
from tests.scripts.suite.stage import opening
from vanta.api import Opening
from vanta.models import ModelStore, default_root

REAL, CAPPED = (Path(__file__).parent / name for name in ("real", "capped"))
CAPS = {"turn_usd": 0.01, "session_usd": 0.005}
"""At $100 per million tokens, a session affords one reply of 40 tokens and no second one."""


@functools.cache
def _opening(folder: Path, kind: str) -> Callable[[], Opening]:
    if kind == "real":
        return functools.partial(_open_real, folder)
    return opening(folder, budget=CAPS) if kind == "capped" else opening(folder)


def _open_real(folder: Path) -> Opening:
    """Open a runtime with the small model on the local track, and an api only as a stand-in."""
    model = ModelStore(default_root()).pull("smollm2-135m-instruct").path
    tracks = {"local": {"model": str(model)}, "api": {"enabled": False}}
    return vanta.open("default", data_dir=str(folder), stall_timeout_s=60, tracks=tracks)


def pytest_vanta_open(config: pytest.Config, path: Path) -> Callable[[], Opening]:
    """Return the scripted engine's runtime; the real model's in `real`, with caps in `capped`."""
    temporary = config._tmp_path_factory.mktemp  # type: ignore[attr-defined]
    kinds = {"real": REAL in path.parents, "capped": CAPPED in path.parents}
    kind = next((name for name, here in kinds.items() if here), "scripted")
    if not hasattr(config, f"_suite_{kind}"):
        setattr(config, f"_suite_{kind}", temporary("suite", numbered=True))
    return _opening(getattr(config, f"_suite_{kind}"), kind)
