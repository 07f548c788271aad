"""The static table: near to what it was made of, made once, whole or not there."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.from_thread
import numpy as np
import pytest

from tests.embedders.conftest import Make
from tests.embedders.pairs import PAIRS
from tests.embedders.test_minilm import OFFLINE
from vanta.memory.embedder import Embedder, EmbedderContext
from vanta.testing import EmbedderConformance

pytestmark = pytest.mark.timeout(900)  # the table is made first, on whatever machine this is

SAID = [said for said, _ in PAIRS]
ASKED = [asked for _, asked in PAIRS]


@pytest.fixture
def table(table_path: Path, context: EmbedderContext) -> Path:
    """The table in a data folder that a test may spoil."""
    path = context.data_dir / "static" / table_path.name
    path.parent.mkdir(parents=True)
    shutil.copy(table_path, path)
    return path


class TestConformance(EmbedderConformance):
    """Held to what every embedder must do."""

    tolerance = 1e-5

    @pytest.fixture
    def embedder(self, make: Make, table: Path) -> Embedder:
        """A fresh one on the table that is there."""
        return make("static")


async def likeness(embedder: Embedder) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The cosine of every question (rows) with everything said (columns)."""
    asked, said = await embedder.embed(ASKED), await embedder.embed(SAID)
    return np.asarray(asked @ said.T)


def found_first(scores: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
    """The share of questions that are nearest to their own answer."""
    return float((scores.argmax(axis=1) == np.arange(len(scores))).mean())


@pytest.mark.anyio
async def test_it_finds_nearly_what_minilm_finds(make: Make, table: Path) -> None:
    teacher, pupil = await likeness(make("minilm")), await likeness(make("static"))
    assert found_first(teacher) >= 0.95
    assert found_first(pupil) >= 0.8
    assert np.corrcoef(teacher.ravel(), pupil.ravel())[0, 1] > 0.65


@pytest.mark.anyio
async def test_common_words_weigh_less_than_rare_ones(make: Make, table: Path) -> None:
    text, common, rare = await make("static").embed(["the cello of the", "the of the", "cello"])
    assert text @ rare > 0.9 > text @ common


@pytest.mark.anyio
async def test_a_text_without_a_word_is_a_row_of_zeros(make: Make, table: Path) -> None:
    assert not (await make("static").embed(["", "  "])).any()


@pytest.mark.anyio
async def test_a_table_that_is_there_is_not_made_again(
    make: Make, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table.stat().st_mtime_ns  # noqa: ASYNC240
    monkeypatch.setitem(sys.modules, "vanta_embedders.network", None)
    embedder = make("static")
    await embedder.load()
    assert embedder.fingerprint == "static/256/1-53aa51172d14"
    assert table.stat().st_mtime_ns == before  # noqa: ASYNC240


async def cancelled_once_it_makes_the_table(embedder: Embedder) -> None:
    """Load `embedder`, and cancel that as soon as it has said that the table is being made."""

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("making the static table"):
                anyio.from_thread.run_sync(tasks.cancel_scope.cancel)

    logger, handler = logging.getLogger("vanta.embedders"), Tell()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(embedder.load)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert tasks.cancel_scope.cancelled_caught


@pytest.mark.anyio
@pytest.mark.parametrize("spoil", ["missing", "cut", "changed"])
async def test_a_table_that_is_not_whole_is_made_anew_and_that_can_be_cancelled(
    make: Make, table: Path, spoil: str
) -> None:
    spoiled(table, spoil)
    before = content(table)
    await cancelled_once_it_makes_the_table(make("static"))
    assert content(table) == before, "nothing unfinished is kept"
    assert not list(table.parent.glob("*.partial"))


def spoiled(path: Path, how: str) -> None:
    """Remove the file, cut it off, or change one byte in its middle."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.unlink()
    if how == "cut":
        path.write_bytes(whole[:middle])
    elif how == "changed":
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])


def content(path: Path) -> bytes | None:
    """What is in a file, None if there is none."""
    return path.read_bytes() if path.exists() else None


@pytest.mark.anyio
async def test_another_dimension_is_another_table(make: Make, table: Path) -> None:
    """It has to be made first, though one of 256 is there."""
    await cancelled_once_it_makes_the_table(make("static", dimension=128))


@pytest.mark.anyio
async def test_it_loads_and_embeds_without_a_network(table: Path, context: EmbedderContext) -> None:
    done = await anyio.run_process(
        [sys.executable, "-c", OFFLINE, "static", str(context.data_dir)],
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.stdout.decode().strip() == "(1, 256)"
