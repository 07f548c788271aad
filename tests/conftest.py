"""What the whole suite shares: isolation from the user, both event loops, the real small model."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import pytest

from vanta.models import ModelStore, default_root

GUARDED = {"context", "facts", "openai", "privacy", "prompts", "runtime", "scheduling"}
"""Folders of tests in which the guard against blocking calls watches."""

_FOLDERS = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")


def _leave_home() -> Path:
    """Give this process, and what it starts, data and configuration folders of its own.

    The models on disk stay visible there, since they take minutes to fetch.
    """
    models = default_root()
    home = Path(tempfile.mkdtemp(prefix="vanta-tests-"))
    for name in [name for name in os.environ if name.startswith(("VANTA_", "OPENAI_"))]:
        del os.environ[name]
    os.environ.update({name: str(home / name.lower()) for name in _FOLDERS})
    models.mkdir(parents=True, exist_ok=True)
    default_root().parent.mkdir(parents=True)
    default_root().symlink_to(models, target_is_directory=True)
    return home


def _heed_ctrl_c() -> None:
    """Undo an ignored SIGINT, which children inherit: a shell ignores it for background jobs."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


_HOME = _leave_home()
_heed_ctrl_c()


def pytest_unconfigure() -> None:
    """Remove the folders of this process."""
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what is marked `one_loop` on one: work in a thread or a process, minutes on two."""

    def is_second(item: pytest.Item) -> bool:
        on = getattr(item, "callspec", None)
        return bool(
            item.get_closest_marker("one_loop") and on and on.params.get("anyio_backend") == "trio"
        )

    second = {item for item in items if is_second(item)}
    if second:
        items[:] = [item for item in items if item not in second]
        config.hook.pytest_deselected(items=list(second))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every asynchronous test on both event loops."""
    return str(request.param)


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Return the embedded default model: TEST_MODEL, or vanta's own, fetched if needed."""
    given = os.environ.get("TEST_MODEL")
    if given:
        return ModelStore(default_root()).find(given).path
    return ModelStore(default_root()).pull("smollm2-135m-instruct").path


@pytest.fixture(autouse=True)
def nothing_blocks(request: pytest.FixtureRequest) -> None:
    """Fail a test whose awaited code blocks the event loop, in the rooms of a turn."""
    if GUARDED & set(
        request.path.relative_to(Path(__file__).parent).parts
    ) and request.node.get_closest_marker("anyio"):
        request.getfixturevalue("no_blocking")
