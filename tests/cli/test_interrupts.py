"""Ctrl-C ends a wait at the terminal also when the signal does not break into the wait itself.

A signal that another thread receives stands for one that arrives just before the wait: both leave
the main thread in its wait with Python's handler still to run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from vanta.cli.terminal import read_line
from vanta.cli.turns import Interruptible


@contextmanager
def handled_as_in_a_command() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def typed(text: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard input that holds `text` and stays open; yields where more is typed."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    with open(reading) as stdin, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stdin", stdin)
        try:
            yield writing
        finally:
            os.close(writing)


def interrupt_elsewhere() -> None:
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_ctrl_c_that_another_thread_receives_ends_a_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = threading.Timer(0.05, interrupt_elsewhere)
    with handled_as_in_a_command(), typed("", monkeypatch):
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            read_line()
    thread.join()


def test_a_line_is_read_without_its_end_and_the_next_one_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with typed("yes\r\n", monkeypatch) as writing:
        assert read_line() == "yes"
        os.write(writing, b" no \n")
        assert read_line() == " no "


def test_ctrl_c_that_another_thread_receives_stops_silent_work() -> None:
    begun = threading.Event()
    ended: list[bool] = []

    async def work(_report: Callable[[str], None]) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    def press() -> None:
        begun.wait()
        interrupt_elsewhere()

    thread = threading.Thread(target=press)
    with start_blocking_portal() as portal:
        watched: Interruptible[str] = Interruptible(portal)
        thread.start()
        assert watched.watch(work, print) is False
        thread.join()
    assert (watched.interrupts, ended) == (1, [True])
