"""Owners: a live process is never called gone, a dead one is, whoever has its number now."""

from __future__ import annotations

import os
import subprocess
import sys

from vanta.money.owner import Owner, this_process


def test_this_process_is_not_gone() -> None:
    assert not this_process().gone


def test_a_process_that_runs_is_not_gone_and_is_once_it_has_ended() -> None:
    tell = (
        "from vanta.money.owner import this_process as p; print(p().process, flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", tell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    owner = Owner(this_process().host, child.stdout.readline().strip())
    assert not owner.gone
    child.communicate("\n")
    assert owner.gone


def test_a_number_that_another_process_has_now_is_told_apart() -> None:
    assert Owner(this_process().host, f"{os.getpid()}:long-ago").gone


def test_of_another_host_nothing_is_said() -> None:
    assert not Owner("elsewhere", "1:1").gone


def test_a_fork_is_another_process() -> None:
    parent = this_process()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child leaves without a report
        os.write(writing, this_process().process.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != parent.process
    os.close(reading)
    os.close(writing)
