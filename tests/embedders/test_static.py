"""The static table: similar to its model, made once, whole or missing."""

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
from vanta.memory import Embedder, EmbedderContext
from vanta.testing import EmbedderConformance

pytestmark = pytest.mark.timeout(900)  # the table is made first, which is slow on some machines

STATEMENTS = [statement for statement, _ in PAIRS]
QUESTIONS = [question for _, question in PAIRS]


@pytest.fixture
def table(table_path: Path, context: EmbedderContext) -> Path:
    """A copy of the table, in a data folder that a test may damage."""
    path = context.data_dir / "static" / table_path.name
    path.parent.mkdir(parents=True)
    shutil.copy(table_path, path)
    return path


class TestConformance(EmbedderConformance):
    """The static embedder keeps the contract of embedders."""

    tolerance = 1e-5

    @pytest.fixture
    def embedder(self, make: Make, table: Path) -> Embedder:
        """A new embedder on the existing table."""
        return make("static")


async def similarity(embedder: Embedder) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return the cosine of each question (rows) with each statement (columns)."""
    questions = await embedder.embed(QUESTIONS)
    statements = await embedder.embed(STATEMENTS)
    return np.asarray(questions @ statements.T)


def share_ranked_first(scores: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
    """Return the share of questions whose own answer is nearest."""
    return float((scores.argmax(axis=1) == np.arange(len(scores))).mean())


@pytest.mark.anyio
async def test_it_finds_nearly_as_much_as_minilm(make: Make, table: Path) -> None:
    teacher, pupil = await similarity(make("minilm")), await similarity(make("static"))
    assert share_ranked_first(teacher) >= 0.95
    assert share_ranked_first(pupil) >= 0.8
    assert np.corrcoef(teacher.ravel(), pupil.ravel())[0, 1] > 0.65


@pytest.mark.anyio
async def test_common_words_have_less_weight_than_rare_ones(make: Make, table: Path) -> None:
    text, common, rare = await make("static").embed(["the cello of the", "the of the", "cello"])
    assert text @ rare > 0.9 > text @ common


@pytest.mark.anyio
async def test_a_text_without_a_word_is_a_row_of_zeros(make: Make, table: Path) -> None:
    assert not (await make("static").embed(["", "  "])).any()


@pytest.mark.anyio
async def test_an_existing_table_is_not_made_again(
    make: Make, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table.stat().st_mtime_ns  # noqa: ASYNC240
    monkeypatch.setitem(sys.modules, "vanta_embedders.network", None)
    embedder = make("static")
    await embedder.load()
    assert embedder.fingerprint == "static/256/1-53aa51172d14"
    assert table.stat().st_mtime_ns == before  # noqa: ASYNC240


async def check_cancelled_while_making_the_table(embedder: Embedder) -> None:
    """Load `embedder`, and cancel that once it logs that it makes the table."""

    class CancelOnLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("making the static table"):
                anyio.from_thread.run_sync(tasks.cancel_scope.cancel)

    logger, handler = logging.getLogger("vanta.embedders"), CancelOnLog()
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
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
async def test_a_damaged_table_is_made_again_and_that_can_be_cancelled(
    make: Make, table: Path, damage: str
) -> None:
    damage_file(table, damage)
    before = content(table)
    await check_cancelled_while_making_the_table(make("static"))
    assert content(table) == before, "an unfinished table was kept"
    assert not list(table.parent.glob("*.partial"))


def damage_file(path: Path, how: str) -> None:
    """Remove the file, truncate it, or change a byte in its middle."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.unlink()
    if how == "cut":
        path.write_bytes(whole[:middle])
    elif how == "changed":
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])


def content(path: Path) -> bytes | None:
    """Return the content of a file, None if it does not exist."""
    return path.read_bytes() if path.exists() else None


@pytest.mark.anyio
async def test_another_dimension_is_another_table(make: Make, table: Path) -> None:
    """It has to be made first, although one of 256 exists."""
    await check_cancelled_while_making_the_table(make("static", dimension=128))


@pytest.mark.anyio
async def test_it_loads_and_embeds_without_a_network(table: Path, context: EmbedderContext) -> None:
    completed = await anyio.run_process(
        [sys.executable, "-c", OFFLINE, "static", str(context.data_dir)],
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert completed.stdout.decode().strip() == "(1, 256)"
