"""The child process that runs Chroma: how it ends, hangs, and outlives nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio._backends._asyncio
import anyio.lowlevel
import pytest
import trio._subprocess

from tests.chroma.conftest import OpenChroma
from tests.chroma.owner import BATCH
from tests.chroma.support import (
    ADA,
    BOB,
    is_running,
    kill,
    open_resources,
    vectors,
    wait_for_end,
)
from vanta.errors import VectorIndexError
from vanta.memory import Partition
from vanta.testing import LoopGuard
from vanta_chroma.child_channel import ChildChannel
from vanta_chroma.index import ChromaIndex

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


class Starter:
    """Starts the child processes of an index and keeps their channels; its clock can be moved."""

    def __init__(self) -> None:
        self.channels: list[ChildChannel] = []
        self.elapsed_s = 0.0

    async def __call__(self, settings: dict[str, Any], limit_s: float) -> ChildChannel:
        channel = await ChildChannel.start(settings, limit_s, clock=self.clock)
        self.channels.append(channel)
        return channel

    def clock(self) -> float:
        return anyio.current_time() + self.elapsed_s


async def test_chroma_is_never_imported_in_this_process(folder: Path) -> None:
    code = (
        "import anyio, sys, pathlib\n"
        "from tests.chroma.support import ADA, vectors\n"
        "from vanta.memory import IndexContext\n"
        "from vanta_chroma import vanta_vector_indexes\n"
        "async def main():\n"
        "    [factory] = vanta_vector_indexes()\n"
        "    context = IndexContext(pathlib.Path(sys.argv[1]))\n"
        "    index = factory.create(factory.options(), context)\n"
        "    await index.upsert(ADA, [1], vectors(1))\n"
        "    assert await index.ids(ADA) == {1}\n"
        "    await index.aclose()\n"
        "anyio.run(main)\n"
        "assert not [name for name in sys.modules if name.startswith('chromadb')]\n"
    )
    completed = await anyio.run_process([sys.executable, "-c", code, str(folder)], cwd=ROOT)
    assert completed.returncode == 0


async def test_settings_in_the_working_directory_are_not_read(
    open_index: OpenChroma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chroma reads `.env` there, which can name what is loaded."""
    (tmp_path / ".env").write_text("CHROMA_SERVER_HTTP_PORT=none\nCHROMA_API_IMPL=theirs.Api\n")
    monkeypatch.chdir(tmp_path)
    index = open_index()
    await index.upsert(ADA, [1], vectors(1))
    assert await index.ids(ADA) == {1}
    await index.aclose()


async def test_only_the_start_of_a_process_blocks_the_event_loop(
    open_index: OpenChroma,
) -> None:
    """A start takes a millisecond or two, and anyio offers no other way."""
    starts = (anyio._backends._asyncio.__file__, trio._subprocess.__file__)
    with LoopGuard(ignore=starts) as guard:
        index = open_index()
        await index.upsert(ADA, range(150), vectors(150))
        await index.search(ADA, vectors(1), 1)
        await index.wipe(ADA)
        await index.aclose()
    assert guard.calls == []


async def test_a_killed_process_is_started_again(open_index: OpenChroma) -> None:
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    first = index.pid
    kill(first)
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    assert index.pid != first
    await index.aclose()


async def test_requests_that_a_kill_interrupts_are_repeated(open_index: OpenChroma) -> None:
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


async def test_a_hanging_process_is_ended_and_replaced(open_index: OpenChroma) -> None:
    starter = Starter()
    index = open_index(start_channel=starter)
    await index.upsert(ADA, range(10), vectors(10))
    (channel,) = starter.channels
    hung = channel.pid
    channel.limit_s = 0.2
    os.kill(hung, signal.SIGSTOP)
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    await wait_for_end(hung)
    await index.aclose()


async def test_an_old_reply_to_a_cancelled_request_is_not_taken_for_hanging(
    open_index: OpenChroma,
) -> None:
    starter = Starter()
    index = open_index(start_channel=starter)
    await index.upsert(ADA, range(10), vectors(10))
    (channel,) = starter.channels
    first = index.pid
    async with anyio.create_task_group() as group:
        group.start_soon(index.search, ADA, vectors(1), 1)
        while not channel.pending:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    starter.elapsed_s = 10 * channel.limit_s
    (pairs,) = await index.search(ADA, vectors(2)[1:], 1)
    assert pairs[0][0] == 1
    assert index.pid == first
    await index.aclose()


async def test_a_request_over_its_time_limit_ends_the_process(
    open_index: OpenChroma,
) -> None:
    index = open_index(timeout_s=0.001)
    with pytest.raises(VectorIndexError, match="Timeout") as raised:
        await index.upsert(ADA, range(100), vectors(100))
    assert not raised.value.owned
    first = index.pid
    with pytest.raises(VectorIndexError, match="Timeout"):
        await index.search(ADA, vectors(1), 1)
    assert index.pid == first, "the request was repeated although it ends the process each time"
    await index.aclose()


async def test_ctrl_c_does_not_end_the_child_process(open_index: OpenChroma) -> None:
    index = open_index()
    await index.load()
    first = index.pid
    assert first is not None
    os.kill(first, signal.SIGINT)
    await index.upsert(ADA, range(10), vectors(10))
    assert index.pid == first
    await index.aclose()


async def test_a_second_owner_gets_an_error_that_says_what_to_do(open_index: OpenChroma) -> None:
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
async def test_no_stored_record_is_lost_with_its_owner(
    open_index: OpenChroma, folder: Path, victim: str
) -> None:
    """The lock is free at once, and no process is left."""
    command = [sys.executable, "-m", "tests.chroma.owner", str(folder)]
    last_batch = -1
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as owner:
        assert owner.stdout is not None
        output = ""
        while output.count("\n") < 6:
            output += (await owner.stdout.receive()).decode()
        chroma = int(output.split()[0])
        if victim != "owner":
            kill(chroma)
        if victim != "chroma":
            kill(owner.pid)
        else:
            owner.terminate()
        async for data in owner.stdout:
            output += data.decode()
        last_batch = int(output.split("\n")[-2])
    index = open_index()
    ids = await index.ids(ADA)
    assert ids >= set(range((last_batch + 1) * BATCH))
    for batch in range(last_batch + 1):
        neighbours = await index.search(ADA, vectors(BATCH, seed=batch), 1)
        expected = list(range(batch * BATCH, (batch + 1) * BATCH))
        assert [pairs[0][0] for pairs in neighbours] == expected
    await index.aclose()
    await wait_for_end(chroma)


async def test_closing_releases_every_resource(open_index: OpenChroma) -> None:
    before = open_resources()
    index = open_index()
    await index.upsert(ADA, range(10), vectors(10))
    pid = index.pid
    assert pid is not None
    assert open_resources() != before
    await index.aclose()
    assert not is_running(pid)
    for thread in threading.enumerate():
        if "waitpid" in thread.name:  # it has reported the end, and is about to end itself
            thread.join(10)
    assert open_resources() == before


async def test_closing_does_not_wait_for_a_hanging_process(open_index: OpenChroma) -> None:
    starter = Starter()
    index = open_index(start_channel=starter)
    await index.load()
    (channel,) = starter.channels
    os.kill(channel.pid, signal.SIGSTOP)
    channel.grace_s = 0.2
    await index.aclose()
    assert not is_running(channel.pid)


async def test_a_process_that_cannot_start_raises_an_error_of_the_index(
    open_index: OpenChroma, monkeypatch: pytest.MonkeyPatch
) -> None:
    index: ChromaIndex = open_index()
    monkeypatch.setattr(sys, "executable", "/not/there/python")
    with pytest.raises(VectorIndexError, match="could not be started"):
        await index.load()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(VectorIndexError, match="ended repeatedly"):
        await index.ids(ADA)
    monkeypatch.undo()
    assert await index.ids(ADA) == frozenset(), "the partition was blamed"
    await index.aclose()


async def test_cancelling_a_call_of_a_hanging_process_returns_at_once(
    open_index: OpenChroma,
) -> None:
    """Even while the pipe is full of another caller's vectors."""
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
        with anyio.move_on_after(0.05) as scope:
            await index.search(ADA, vectors(1), 1)
        assert scope.cancelled_caught
        os.kill(hung, signal.SIGCONT)
    (pairs,) = await index.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    assert await index.ids(wide) == set(range(100))
    assert index.pid == hung
    await index.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp exists only on Linux")
async def test_the_child_process_opens_no_socket(
    open_index: OpenChroma, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills a process that tries to open one, from its first step on."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "no_sockets"))
    probe = subprocess.run(  # noqa: ASYNC221 - short, and nothing else runs yet
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
