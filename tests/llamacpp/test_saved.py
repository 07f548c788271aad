"""Prefixes on disk: found again after a restart, and only what is exactly right."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import MakeEngine, answer, request
from vanta.engine import GenerationRequest
from vanta.messages import Completion
from vanta_llamacpp.model import kv_disk as saved
from vanta_llamacpp.model.kv_disk import MAGIC
from vanta_llamacpp.model.slots import SAVE_STEP

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
WORDS = ["rain", "stone", "green", "seven", "window", "river", "paper", "cloud", "iron", "bread"]


def long(seed: int, *, session: str = "ada", words: int = 300) -> GenerationRequest:
    """A request with a long prompt of random words."""
    chance = random.Random(seed)  # noqa: S311
    return dataclasses.replace(request(" ".join(chance.choices(WORDS, k=words))), session=session)


async def once(tiny: MakeEngine, asked: GenerationRequest, **options: Any) -> Completion:
    """The answer of an engine that lives for it alone."""
    engine = tiny(**options)
    told = await answer(engine, asked)
    await engine.aclose()
    return told


def files(folder: Path) -> list[Path]:
    """What is in there, beside the mark of the folder."""
    return [path for path in folder.iterdir() if path.name != saved.MARK]


def cached(told: Completion) -> int:
    """Tokens of the prompt that were not read."""
    assert told.usage is not None
    return told.usage.cached_input_tokens


async def test_a_session_goes_on_after_a_restart(tiny: MakeEngine, tmp_path: Path) -> None:
    """What was read is not read again, and the answer is the same."""
    first = await once(tiny, long(1), cache_dir=tmp_path)
    again = await once(tiny, long(1), cache_dir=tmp_path)
    assert (cached(first), again.text) == (0, first.text)
    assert cached(again) > 250
    other = await once(tiny, long(1, session="bob"), cache_dir=tmp_path)
    assert (cached(other), other.text) == (0, first.text), "another's session is not looked into"


async def test_nothing_is_saved_unless_it_is_asked_for(tiny: MakeEngine, tmp_path: Path) -> None:
    """Nor of a request without a session, nor where prefixes are not kept."""
    engine = tiny()
    await answer(engine, long(1))
    await engine.aclose()
    assert "saved_prefixes" not in engine.stats()
    await once(tiny, long(1, session=""), cache_dir=tmp_path)
    await once(tiny, long(1), cache_dir=tmp_path, reuse_prefix=False)
    assert files(tmp_path) == []


async def test_files_are_for_their_owner_only(tiny: MakeEngine, tmp_path: Path) -> None:
    """They hold what was said, in the end; the session's name is not in theirs."""
    folder = tmp_path / "new" / "cache"
    await once(tiny, long(1), cache_dir=folder)
    (file,) = files(folder)
    assert "ada" not in file.name
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def other_weights(path: Path, real: Path) -> None:
    """The model's file, written anew."""
    write_random_model(path, real, seed=8)


@pytest.mark.parametrize(
    ("change", "options"),
    [(other_weights, {}), (None, {"window": 2048}), (None, {"parallel": 2})],
)
async def test_another_model_or_other_parameters_are_refused(
    tiny: MakeEngine,
    tmp_path: Path,
    smollm2_path: Path,
    change: Callable[[Path, Path], None] | None,
    options: dict[str, Any],
) -> None:
    """Though the file of the session is there."""
    path = write_random_model(tmp_path / "model.gguf", smollm2_path)
    await once(tiny, long(1), path=path, cache_dir=tmp_path / "cache")
    if change is not None:
        change(path, smollm2_path)
    engine = tiny(path=path, cache_dir=tmp_path / "cache", **options)
    told = await answer(engine, long(1))
    assert cached(told) == 0
    assert engine.stats()["saved_prefixes"]["refused"] == 1
    assert told.text == (await once(tiny, long(1), path=path, **options)).text


def cut(data: bytes) -> bytes:
    """The last byte is missing."""
    return data[:-1]


def flipped(data: bytes) -> bytes:
    """A bit of the state is another."""
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def other_tokens(data: bytes) -> bytes:
    """A token is another, far behind in the prefix."""
    at = 80 + 4 * 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def empty(_data: bytes) -> bytes:
    """Nothing."""
    return b""


def boasting(data: bytes) -> bytes:
    """More tokens and bytes than any memory holds."""
    return data[:68] + b"\xff" * 12 + data[80:]


@pytest.mark.parametrize("damage", [cut, flipped, other_tokens, empty, boasting])
async def test_a_damaged_file_is_refused(
    tiny: MakeEngine, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """And the answer is the same."""
    first = await once(tiny, long(1), cache_dir=tmp_path)
    (file,) = files(tmp_path)
    assert file.read_bytes().startswith(MAGIC)
    file.write_bytes(damage(file.read_bytes()))
    engine = tiny(cache_dir=tmp_path)
    told = await answer(engine, long(1))
    assert (cached(told), told.text) == (0, first.text)
    assert engine.stats()["saved_prefixes"]["refused"] == 1


async def test_a_session_that_made_room_comes_back_from_disk(
    tiny: MakeEngine, tmp_path: Path
) -> None:
    """With one slot and two sessions, neither is read twice."""
    engine = tiny(parallel=1, cache_dir=tmp_path)
    first = await answer(engine, long(1))
    await answer(engine, long(2, session="bob"))
    again = await answer(engine, long(1))
    assert again.text == first.text
    assert cached(again) > 250
    assert engine.stats()["saved_prefixes"]["restored"] == 1


async def test_long_prefixes_are_saved_in_the_pauses(tiny: MakeEngine, tmp_path: Path) -> None:
    """A process that is killed loses little; short ones wait for the end."""
    engine = tiny(cache_dir=tmp_path)
    await answer(engine, long(2, session="bob", words=SAVE_STEP // 2))
    await answer(engine, long(1))
    while not engine.stats()["saved_prefixes"]["saved"]:
        await answer(engine, request(max_tokens=1))
    assert len(files(tmp_path)) == 1
    await engine.aclose()
    assert len(files(tmp_path)) == 2


async def test_the_oldest_go_first(tiny: MakeEngine, tmp_path: Path) -> None:
    """Where there are more bytes than may be."""
    await once(tiny, long(1), cache_dir=tmp_path)
    (first,) = files(tmp_path)
    most = first.stat().st_size * 3 // 2
    await once(tiny, long(2, session="bob"), cache_dir=tmp_path, cache_bytes=most)
    (second,) = files(tmp_path)
    assert second != first
    await once(tiny, long(3, session="cyd"), cache_dir=tmp_path, cache_bytes=0)
    assert files(tmp_path) == []


async def test_what_is_used_stays(tiny: MakeEngine, tmp_path: Path) -> None:
    """The one that was found again is not the oldest any more."""
    await once(tiny, long(1), cache_dir=tmp_path)
    (first,) = files(tmp_path)
    await once(tiny, long(2, session="bob"), cache_dir=tmp_path)
    (second,) = set(files(tmp_path)) - {first}
    assert cached(await once(tiny, long(1), cache_dir=tmp_path)) > 250
    most = first.stat().st_size * 5 // 2
    await once(tiny, long(3, session="cyd"), cache_dir=tmp_path, cache_bytes=most)
    assert len(files(tmp_path)) == 2
    assert first in files(tmp_path)
    assert second not in files(tmp_path)


async def test_files_of_other_programs_are_never_removed(tiny: MakeEngine, tmp_path: Path) -> None:
    await once(tiny, long(1), cache_dir=tmp_path)
    (own,) = files(tmp_path)
    theirs = [
        tmp_path / "notes.kv",
        tmp_path / "notes.kv.old",
        tmp_path / f"{'0' * 16}-{'1' * 32}.kv",
        tmp_path / f"{own.name}.{1 << 40}",
    ]
    for path in theirs:
        path.write_text("a key-value file of mine")
    await once(tiny, long(2, session="bob"), cache_dir=tmp_path, cache_bytes=0)
    assert sorted(files(tmp_path)) == sorted(theirs)
    await once(tiny, long(1), cache_dir=tmp_path)
    saved.remove_all(tmp_path)
    assert sorted(files(tmp_path)) == sorted(theirs)


async def test_a_folder_with_files_of_other_programs_is_not_used(
    tiny: MakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "notes.kv").write_text("mine")
    with caplog.at_level(logging.WARNING, "vanta.llamacpp"):
        await once(tiny, long(1), cache_dir=tmp_path, cache_bytes=0)
    assert [path.name for path in files(tmp_path)] == ["notes.kv"]
    assert not (tmp_path / saved.MARK).exists()
    assert "files that vanta did not write" in caplog.text


async def test_a_cache_carries_the_mark_that_backups_heed(tiny: MakeEngine, tmp_path: Path) -> None:
    await once(tiny, long(1), cache_dir=tmp_path / "new")
    text = (tmp_path / "new" / "CACHEDIR.TAG").read_text()
    assert text.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


async def test_a_folder_that_cannot_be_written_harms_nobody(
    tiny: MakeEngine, tmp_path: Path
) -> None:
    """Here, because it is a file."""
    (tmp_path / "file").write_text("mine")
    told = await once(tiny, long(1), cache_dir=tmp_path / "file")
    assert told.text == (await once(tiny, long(1))).text
    assert (tmp_path / "file").read_text() == "mine"


KILLED = """
import io, sys, anyio
from pathlib import Path
from tests.llamacpp.support import answer, engine_on
from tests.llamacpp.test_saved import long
from vanta_llamacpp.model import kv_disk as saved

model, folder, point = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def halt(here):
    if here == point:
        print(before, flush=True)
        sys.stdin.read()

class Halfway(io.BufferedWriter):
    def write(self, data):
        with memoryview(data) as view:
            half = view.nbytes // 2
            if half < 8192:
                return super().write(data)
            super().write(view[:half])
            self.flush()
            halt("writing")
            return half + super().write(view[half:])

def replace(self, target, plain=Path.replace):
    halt("moving")
    return plain(self, target)

async def asked(words):
    engine = engine_on(model, threads=1, parallel=1, cache_dir=folder)
    await answer(engine, long(1, words=words))
    await engine.aclose()

anyio.run(asked, 300)
(before,) = [path.stat().st_size for path in folder.glob("*.kv")]
Path.replace = replace
saved.open = lambda path, mode, opener: Halfway(io.FileIO(path, mode, opener=opener))
anyio.run(asked, 400)
"""


def killed_while_it_saves(model: Path, folder: Path, point: str) -> tuple[list[Path], int]:
    """Run the program above, which saves a session twice, and kill it in the second save, at
    `point`. The files that lay there at that moment, and the bytes of the first save."""
    command = [sys.executable, "-c", KILLED, str(model), str(folder), point]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        there = files(folder)
        process.kill()
    assert told, "it ended without coming to that point"
    return there, int(told)


@pytest.mark.parametrize("point", ["writing", "moving"])
async def test_a_kill_in_the_middle_of_a_save_leaves_what_was_there(
    tiny: MakeEngine, random_path: Path, tmp_path: Path, point: str
) -> None:
    """Half of the new state is on disk, or all of it but not yet in its place: the old one is
    found, whole, and answers are what they are without any."""
    there, size = killed_while_it_saves(random_path, tmp_path, point)
    (old,) = [path for path in there if path.suffix == ".kv"]
    (half,) = [path for path in there if path.suffix != ".kv"]
    assert old.stat().st_size == size
    assert (half.stat().st_size > size) is (point == "moving")
    for words in (300, 400):
        engine = tiny(parallel=1, cache_dir=tmp_path)
        told = await answer(engine, long(1, words=words))
        assert told.text == (await once(tiny, long(1, words=words))).text
        assert cached(told) > 250
        stats = engine.stats()["saved_prefixes"]
        assert (stats["restored"], stats["refused"]) == (1, 0)
        assert files(tmp_path) == [old], "nothing half written is left"
        await engine.aclose()


async def test_a_leftover_that_cannot_be_removed_is_told_and_harms_nobody(
    tiny: MakeEngine,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here, because the system refuses; its process is gone, as no system counts so far."""
    first = await once(tiny, long(1), cache_dir=tmp_path)
    (file,) = files(tmp_path)
    left = tmp_path / f"{file.name}.{1 << 40}"
    left.write_bytes(MAGIC)
    with caplog.at_level(logging.WARNING, "vanta.llamacpp"), monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refusing(left))
        again = await once(tiny, long(1), cache_dir=tmp_path)
    assert again.text == first.text
    assert cached(again) > 250
    (record,) = [each for each in caplog.records if each.name == "vanta.llamacpp"]
    assert record.levelno == logging.WARNING
    assert left.name in record.getMessage()
    assert left.is_file()


def refusing(path: Path) -> Callable[..., None]:
    """`Path.unlink`, which the system refuses for one file."""
    unlink = Path.unlink

    def attempt(self: Path, missing_ok: bool = False) -> None:
        if self == path:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(self, missing_ok=missing_ok)

    return attempt


def failing(error: type[Exception]) -> Callable[..., bytes]:
    """Something that raises it."""

    def fail(*_: object) -> bytes:
        raise error

    return fail


@pytest.mark.parametrize("error", [MemoryError, ValueError, OSError])
async def test_no_room_means_not_saved_and_not_found(
    tiny: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """And the answer is the same."""
    with monkeypatch.context() as patched:
        patched.setattr(saved, "_digest", failing(error))
        first = await once(tiny, long(1), cache_dir=tmp_path)
    assert files(tmp_path) == []
    await once(tiny, long(1), cache_dir=tmp_path)
    (file,) = files(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(saved, "_digest", failing(error))
        engine = tiny(cache_dir=tmp_path)
        again = await answer(engine, long(1))
        assert engine.stats()["saved_prefixes"]["refused"] == 1
        await engine.aclose()
    assert (cached(again), again.text) == (0, first.text)
    assert files(tmp_path) == [file]


async def test_a_session_whose_name_is_no_unicode_is_not_saved(
    tiny: MakeEngine, tmp_path: Path
) -> None:
    """A lone surrogate cannot be written."""
    first = await once(tiny, long(1, session="\ud800"), cache_dir=tmp_path)
    again = await once(tiny, long(1, session="\ud800"), cache_dir=tmp_path)
    assert (cached(again), files(tmp_path)) == (0, [])
    assert again.text == first.text


def test_nobody_is_asked_on_windows_whether_he_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signal 0 is Ctrl-C there."""
    assert saved.alive(str(os.getpid()))
    assert not saved.alive(str(1 << 40))
    assert not saved.alive("tmp")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", failing(AssertionError))
    assert saved.alive("7")
    assert not saved.alive("tmp")


async def test_what_is_to_be_forgotten_is_neither_on_disk_nor_found_again(
    tiny: MakeEngine, tmp_path: Path
) -> None:
    await once(tiny, long(1, session="bob"), cache_dir=tmp_path)
    engine = tiny(cache_dir=tmp_path)
    first = await answer(engine, long(1))
    await engine.forget()
    assert files(tmp_path) == []
    again = await answer(engine, long(1))
    assert (cached(again), again.text) == (0, first.text)
    await engine.forget()
    await engine.aclose()
    assert files(tmp_path) == [], "closing saves what is there, and nothing is"


async def test_an_engine_that_was_never_loaded_forgets_what_is_on_disk(
    tiny: MakeEngine, tmp_path: Path
) -> None:
    await once(tiny, long(1), cache_dir=tmp_path)
    assert files(tmp_path)
    engine = tiny(cache_dir=tmp_path)
    await engine.forget()
    await engine.aclose()
    assert files(tmp_path) == []
