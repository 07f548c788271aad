"""Prefixes on disk: found again after a restart, and only what is exactly right."""

from __future__ import annotations

import dataclasses
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
from vanta_llamacpp.saved import MAGIC
from vanta_llamacpp.slots import SAVE_STEP

pytestmark = pytest.mark.anyio
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
    """What is in there."""
    return list(folder.iterdir())


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


async def test_a_folder_that_cannot_be_written_harms_nobody(
    tiny: MakeEngine, tmp_path: Path
) -> None:
    """Here, because it is a file."""
    (tmp_path / "file").write_text("mine")
    told = await once(tiny, long(1), cache_dir=tmp_path / "file")
    assert told.text == (await once(tiny, long(1))).text
    assert (tmp_path / "file").read_text() == "mine"


KILLED = """
import sys, anyio
from pathlib import Path
from tests.llamacpp.support import answer, engine_on
from tests.llamacpp.test_saved import long
async def main():
    engine = engine_on(Path(sys.argv[1]), threads=1, parallel=1, cache_dir=Path(sys.argv[2]))
    await answer(engine, long(1))
    for number in range(10_000):
        await answer(engine, long(2, session="bob", words=100 + number))
        print(number, flush=True)
        await answer(engine, long(1))
anyio.run(main)
"""


def kill_while_it_saves(model: Path, folder: Path, lines: int) -> None:
    """Run the program above until it has told so many lines."""
    command = [sys.executable, "-c", KILLED, str(model), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert all(process.stdout.readline() for _ in range(lines))
        process.kill()


async def test_a_kill_in_the_middle_of_a_save_leaves_the_old_or_the_new(
    tiny: MakeEngine, random_path: Path, tmp_path: Path
) -> None:
    """Killed again and again while it does little else; what is found is whole."""
    expected = (await once(tiny, long(1))).text
    chance = random.Random(3)  # noqa: S311
    for _ in range(4):
        kill_while_it_saves(random_path, tmp_path, chance.randint(1, 6))
        engine = tiny(parallel=1, cache_dir=tmp_path)
        told = await answer(engine, long(1))
        assert told.text == expected
        assert cached(told) > 250
        assert engine.stats()["saved_prefixes"]["refused"] == 0
        await engine.aclose()
    assert {path.suffix for path in files(tmp_path)} == {".kv"}, "nothing half written is left"


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
