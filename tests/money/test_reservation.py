"""A live process is never reported as gone; a dead one is, even if its PID is reused."""

from __future__ import annotations

import os
import subprocess
import sys

from vanta.money.reservation import Owner, this_process


def test_this_process_is_not_gone() -> None:
    assert not this_process().gone


def test_a_process_is_gone_once_it_has_ended() -> None:
    code = (
        "from vanta.money.reservation import this_process\n"
        "print(this_process().process, flush=True)\n"
        "input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    owner = Owner(this_process().host, child.stdout.readline().strip())
    assert not owner.gone
    child.communicate("\n")
    assert owner.gone


def test_a_reused_pid_is_another_process() -> None:
    assert Owner(this_process().host, f"{os.getpid()}:long-ago").gone


def test_a_process_of_another_host_is_never_gone() -> None:
    assert not Owner("elsewhere", "1:1").gone


def test_a_fork_is_another_owner() -> None:
    parent = this_process()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child exits without a coverage report
        os.write(writing, this_process().process.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != parent.process
    os.close(reading)
    os.close(writing)
