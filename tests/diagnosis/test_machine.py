"""Checks of the machine: each can pass and can fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.diagnosis.conftest import MakeContext
from tests.models.wheels import build_wheel, gguf_like
from vanta.diagnosis import machine
from vanta.models import ModelEntry

pytestmark = pytest.mark.anyio

LOCAL = {"local": {"engine": "llamacpp", "model": "tiny", "window": 600}}
ENTRY = ModelEntry(
    id="tiny",
    source="wheel:tiny-model==1.0#tiny_model/tiny.gguf",
    size_bytes=1_000_000,
    window=2048,
    kv_bytes_per_token=1_000,
    vocabulary=1_000,
)
NEED = 1_000_000 + 600 * 1_000 + 512 * 4 * 1_000


async def test_python(context: MakeContext) -> None:
    assert (await machine.python(context())).ok is True
    old = await machine.python(context(python_version=(3, 10)))
    assert old.ok is False
    assert "3.10 is too old, 3.11 is needed" in old.detail
    assert old.mend == "python3.11 -m venv .venv"


async def test_the_data_folder_may_not_be_there_yet(context: MakeContext, tmp_path: Path) -> None:
    made = context(data=tmp_path / "a" / "b")
    assert (await machine.data_folder(made)).ok is True
    assert os.listdir(tmp_path) == [], "looking leaves no trace"  # noqa: PTH208
    made.config.data_dir.mkdir(parents=True)
    assert (await machine.data_folder(made)).ok is True
    assert os.listdir(made.config.data_dir) == []  # noqa: PTH208


@pytest.mark.parametrize("below", ["", "models"])
async def test_a_data_folder_that_is_a_file_fails(
    context: MakeContext, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    found = await machine.data_folder(context(data=tmp_path / "file" / below))
    assert found.ok is False
    assert "cannot be written" in found.detail
    assert "VANTA_DATA_DIR" in found.mend


async def test_a_disk_without_room_for_a_tracks_model_fails(context: MakeContext) -> None:
    huge = ModelEntry(id="tiny", source=ENTRY.source, size_bytes=1 << 60)
    found = await machine.data_folder(context(tracks=LOCAL, entries=(huge,)))
    assert found.ok is False
    assert "needed" in found.detail
    elsewhere = context(tracks=LOCAL, entries=(ENTRY,))
    assert (await machine.data_folder(elsewhere)).ok is True


async def test_memory_is_held_against_the_models_at_their_windows(context: MakeContext) -> None:
    enough = await machine.memory(context(tracks=LOCAL, entries=(ENTRY,), free_memory_bytes=NEED))
    assert enough.ok is True
    assert "'local'" in enough.detail
    short = await machine.memory(
        context(tracks=LOCAL, entries=(ENTRY,), free_memory_bytes=NEED - 1)
    )
    assert short.ok is False
    assert short.mend == "vanta models list"


async def test_memory_says_what_it_cannot_know(context: MakeContext) -> None:
    unknown = await machine.memory(context(tracks=LOCAL, free_memory_bytes=1))
    assert (unknown.ok, "'local'" in unknown.detail) == (None, True)
    assert (await machine.memory(context(free_memory_bytes=None))).ok is None
    assert (await machine.memory(context(free_memory_bytes=1))).ok is True, "nothing needs any"


async def test_cores(context: MakeContext) -> None:
    assert (await machine.cores(context(cores=2))).ok is True
    alone = await machine.cores(context(cores=1))
    assert alone.ok is None
    assert "one core" in alone.detail


def test_the_wheel_of_these_tests_is_the_one_of_the_entry(tmp_path: Path) -> None:
    assert build_wheel(tmp_path, gguf_like(100)).entry.source == ENTRY.source
