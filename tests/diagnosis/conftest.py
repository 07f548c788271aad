"""What the tests of the diagnosis share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vanta.config import Config
from vanta.diagnosis import DiagnosisContext
from vanta.models import ModelEntry, ModelStore
from vanta.plugin_loading import load

MakeContext = Callable[..., DiagnosisContext]


@pytest.fixture
def context(tmp_path: Path) -> MakeContext:
    """Makes contexts: `data` and `tracks` for the configuration, `entries` for the registry,
    `hooks` for a plugin object; every other argument is a field of the context."""

    def make(
        *,
        data: Path | None = None,
        tracks: dict[str, Any] | None = None,
        entries: tuple[ModelEntry, ...] = (),
        hooks: dict[str, Any] | None = None,
        **fields: Any,
    ) -> DiagnosisContext:
        folder = tmp_path / "data" if data is None else data
        extra = [SimpleNamespace(name="stranger", **hooks)] if hooks else []
        made = DiagnosisContext(
            config=Config.model_validate({"data_dir": folder, "tracks": tracks or {}}),
            plugins=load(extra=extra, entry_points=[]),
            models=ModelStore(folder / "models", {entry.id: entry for entry in entries}),
        )
        return replace(made, **fields)

    return make
