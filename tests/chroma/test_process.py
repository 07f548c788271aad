"""The process that runs Chroma: its end, its owner's end, its hanging, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import anyio._backends._asyncio
import anyio.lowlevel
import pytest
import trio._subprocess

from tests.chroma.conftest import OpenChroma
from tests.chroma.owner import BATCH
from tests.chroma.support import ADA, BOB, ended, held, kill, runs, vectors
from vanta.errors import VectorIndexError
from vanta.memory.index import Partition
from vanta.testing import LoopGuard
from vanta_chroma.index import ChromaIndex

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


async def test_chroma_is_never_in_this_process(open_index: OpenChroma) -> None:
    code = (
        "import anyio, sys, pathlib\n"
        "from tests.chroma.support import ADA, vectors\n"
        "from vanta.memory.index import IndexContext\n"
        "from vanta_chroma import _create\n"
        "from vanta_chroma.options import ChromaOptions\n"
        "async def main():\n"
        "    index = _create(ChromaOptions(), IndexContext(pathlib.Path(sys.argv[1])))\n"
        "    await index.upsert(ADA, [1], vectors(1))\n"
        "    assert await index.ids(ADA) == {1}\n"
        "    await index.aclose()\n"
        "anyio.run(main)\n"
        "assert not [name for name in sys.modules if name.startswith('chromadb')]\n"
    )
    folder = str(open_index()._folder)
    await anyio.run_process([sys.executable, "-c", code, folder], cwd=ROOT)


async def test_nothing_but_the_start_of_a_process_is_done_on_the_event_loop(
    open_index: OpenChroma,
) -> None:
    """A start takes a millisecond or two, and anyio has no other way."""
    starts = (anyio._backends._asyncio.__file__, trio._subprocess.__file__)
    with LoopGuard(ignore=starts) as guard:
        index = open_index()
        await index.upsert(ADA, range(150), vectors(150))
        await index.search(ADA, vectors(1), 1)
        await index.wipe(ADA)
        await index.aclose()
    assert guard.calls == []


async def test_a_process_that_was_killed_is_started_anew(open_index: OpenChroma) -> None:
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    first = index.pid
    kill(first)
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    assert index.pid != first
    await index.aclose()


async def test_what_it_is_killed_over_is_asked_again(open_index: OpenChroma) -> None:
    index = open_index()
    await index.load()
    async with anyio.create_task_group() as group:
        group.start_soon(index.upsert, ADA, range(40), vectors(40))
        group.start_soon(index.upsert, BOB, range(50), vectors(50))
        await anyio.lowlevel.checkpoint()
        kill(index.pid)
    assert await index.ids(ADA) == set(range(40))
    assert await index.ids(BOB) == set(range(50))
    await index.aclose()


async def test_one_that_hangs_is_ended_and_another_asked(open_index: OpenChroma) -> None:
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    hung, channel = index.pid, index._channel
    assert hung is not None
    assert channel is not None
    channel._limit_s = 0.2
    os.kill(hung, signal.SIGSTOP)
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    await ended(hung)
    await index.aclose()


async def test_a_reply_that_nobody_waited_for_is_no_sign_of_hanging(
    open_index: OpenChroma,
) -> None:
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    first, channel = index.pid, index._channel
    assert channel is not None
    async with anyio.create_task_group() as group:
        group.start_soon(index.search, ADA, vectors(1), 1)
        while not channel._callers:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    channel._since -= 10 * channel._limit_s  # as if that had been long ago
    (pairs,) = await index.search(ADA, vectors(2)[1:], 1)
    assert pairs[0][0] == 1
    assert index.pid == first
    await index.aclose()


async def test_a_request_that_takes_too_long_ends_it_from_within(open_index: OpenChroma) -> None:
    index = open_index(timeout_s=0.001)
    with pytest.raises(VectorIndexError, match="Timeout") as raised:
        await index.upsert(ADA, range(100), vectors(100))
    assert not raised.value.owned
    first = index.pid
    with pytest.raises(VectorIndexError, match="Timeout"):
        await index.search(ADA, vectors(1), 1)
    assert index.pid == first, "it was asked again over what ends it each time"
    await index.aclose()


async def test_ctrl_c_is_not_for_it(open_index: OpenChroma) -> None:
    index = open_index()
    await index.load()
    first = index.pid
    assert first is not None
    os.kill(first, signal.SIGINT)
    await index.upsert(ADA, range(10), vectors(10))
    assert index.pid == first
    await index.aclose()


async def test_a_second_owner_is_told_what_to_do(open_index: OpenChroma) -> None:
    first, second = open_index(), open_index()
    await first.upsert(ADA, range(10), vectors(10))
    for request in (second.load(), second.ids(ADA), second.wipe(ADA)):
        with pytest.raises(VectorIndexError, match=f"process {os.getpid()}.*chroma run") as raised:
            await request
        assert raised.value.owned
    await first.aclose()
    assert await second.ids(ADA) == set(range(10))
    await second.aclose()


@pytest.mark.parametrize("victim", ["owner", "chroma", "both"])
async def test_nothing_that_was_in_is_lost_with_its_owner(
    open_index: OpenChroma, folder: Path, victim: str
) -> None:
    """And the lock is free at once, and nobody is left."""
    command = [sys.executable, "-m", "tests.chroma.owner", str(folder)]
    done = -1
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as owner:
        assert owner.stdout is not None
        told = ""
        while told.count("\n") < 6:
            told += (await owner.stdout.receive()).decode()
        chroma = int(told.split()[0])
        if victim != "owner":
            kill(chroma)
        if victim != "chroma":
            kill(owner.pid)
        else:
            owner.terminate()
        async for piece in owner.stdout:
            told += piece.decode()
        done = int(told.split("\n")[-2])
    index = open_index()
    ids = await index.ids(ADA)
    assert ids >= set(range((done + 1) * BATCH))
    for batch in range(done + 1):
        found = await index.search(ADA, vectors(BATCH, seed=batch), 1)
        assert [pairs[0][0] for pairs in found] == list(range(batch * BATCH, (batch + 1) * BATCH))
    await index.aclose()
    await ended(chroma)


async def test_nothing_is_left_when_it_is_closed(open_index: OpenChroma) -> None:
    before = held()
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    pid = index.pid
    assert pid is not None
    assert held() != before
    await index.aclose()
    assert not runs(pid)
    for thread in threading.enumerate():
        if "waitpid" in thread.name:  # it has told of the end already, and ends
            thread.join(10)
    assert held() == before


async def test_closing_does_not_wait_for_a_process_that_hangs(open_index: OpenChroma) -> None:
    index = open_index()
    await index.load()
    hung = index.pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("vanta_chroma.child_channel.GRACE_S", 0.2)
        await index.aclose()
    assert not runs(hung)


async def test_one_that_cannot_start_is_an_error_of_the_index(
    open_index: OpenChroma, monkeypatch: pytest.MonkeyPatch
) -> None:
    index: ChromaIndex = open_index()
    monkeypatch.setattr(sys, "executable", "/not/there/python")
    with pytest.raises(VectorIndexError, match="could not be started"):
        await index.load()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(VectorIndexError, match="ended again and again"):
        await index.ids(ADA)
    monkeypatch.undo()
    assert await index.ids(ADA) == frozenset(), "the partition was blamed for it"
    await index.aclose()


async def test_who_gives_up_on_one_that_hangs_is_free_at_once(open_index: OpenChroma) -> None:
    """Even while the pipe is full of somebody else's vectors."""
    wide = Partition("ada", private=False, embedder="hash/2048/1", dimension=2048)
    rows = vectors(100).repeat(128, axis=1) / 128**0.5
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    hung = index.pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    async with anyio.create_task_group() as group:
        group.start_soon(index.upsert, wide, range(100), rows)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.05) as given_up:
            await index.search(ADA, vectors(1), 1)
        assert given_up.cancelled_caught
        os.kill(hung, signal.SIGCONT)
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    assert await index.ids(wide) == set(range(100))
    assert index.pid == hung
    await index.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
async def test_it_makes_no_socket(open_index: OpenChroma, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system kills a process that asks for one, from its first step on."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "no_sockets"))
    probe = subprocess.run(  # noqa: ASYNC221 - a moment, before there is anything to block
        [sys.executable, "-c", "import socket; socket.socket()"], check=False
    )
    assert probe.returncode == -signal.SIGSYS
    index = open_index()
    await index.upsert(ADA, range(120), vectors(120))
    await index.delete(ADA, [1])
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    first = index.pid
    assert await index.wipe(ADA)
    assert index.pid == first
    await index.aclose()
