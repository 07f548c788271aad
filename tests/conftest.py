"""What the whole suite shares: both event loops, and the real small model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vanta.models import ModelStore, default_root

GUARDED = {"context", "facts", "openai", "privacy", "prompts", "runtime", "scheduling"}
"""Folders of tests in which the guard against blocking calls watches."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every asynchronous test runs on both event loops."""
    return str(request.param)


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The embedded default model: TEST_MODEL, or vanta's own, fetched once if need be."""
    given = os.environ.get("TEST_MODEL")
    if given:
        return ModelStore(default_root()).find(given).path
    return ModelStore(default_root()).pull("smollm2-135m-instruct").path


@pytest.fixture(autouse=True)
def nothing_blocks(request: pytest.FixtureRequest) -> None:
    """What a test awaits may not block the event loop, in the rooms that a turn goes through."""
    if GUARDED & set(request.path.parts) and request.node.get_closest_marker("anyio"):
        request.getfixturevalue("no_blocking")
