"""Test that items arrive from threads in order, and that writers never wait for the reader."""

from __future__ import annotations

import threading

import anyio
import pytest

from vanta_llamacpp.worker import Mailbox

pytestmark = pytest.mark.anyio


def put_all(mailbox: Mailbox[int], count: int) -> None:
    """Put the numbers below `count`."""
    for number in range(count):
        mailbox.put(number)


async def test_everything_arrives_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox()
    thread = threading.Thread(target=put_all, args=(mailbox, 2000))
    thread.start()
    with anyio.fail_after(20):
        assert [await mailbox.get() for _ in range(2000)] == list(range(2000))
    await anyio.to_thread.run_sync(thread.join)


async def test_putting_does_not_wait_for_the_reader() -> None:
    """The loop does not run meanwhile."""
    mailbox: Mailbox[int] = Mailbox()
    thread = threading.Thread(target=put_all, args=(mailbox, 5))
    thread.start()
    thread.join()
    assert [await mailbox.get() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_waiting_reader_can_be_cancelled() -> None:
    """The next reader gets the item."""
    mailbox: Mailbox[int] = Mailbox()
    with anyio.move_on_after(0):
        await mailbox.get()
    mailbox.put(7)
    assert await mailbox.get() == 7


def test_a_put_after_the_end_of_the_loop_is_ignored() -> None:
    mailboxes: list[Mailbox[int]] = []

    async def make() -> None:
        mailboxes.append(Mailbox())

    for backend in ("asyncio", "trio"):
        anyio.run(make, backend=backend)
    for mailbox in mailboxes:
        mailbox.put(1)
    assert len(mailboxes) == 2
