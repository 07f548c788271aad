"""A program of processes that share one cap: `budget_processes.py contend|die URL PROCESSES`.

contend: each process makes its share of twenty concurrent calls of $0.02 against a cap of $0.05 a
day, and settles its reservations. die: each process reserves $0.02 and is killed, every other one
between reserve and settle, the rest at a random moment. Invariant: a child is a fork of a process
without threads and without a connection, and ends by SIGKILL or `os._exit`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time

import anyio

from vanta import BudgetExceeded
from vanta.money import Caps, Ledger
from vanta.storage import Store

CALLS = 20
CALL_USD = 0.02
CAP_USD = 0.05
WIDE_CAP_USD = 1e6
"""The cap of mode `die`, which the legs of killed processes do not fill."""

_CONCURRENT = 8


async def _call(ledger: Ledger, turn: str) -> None:
    try:
        reservation = await ledger.reserve(
            user="u", session="s", turn=turn, track="api", usd=CALL_USD, lease_s=600
        )
    except BudgetExceeded:
        return
    await ledger.settle(reservation, CALL_USD)


async def _contend(url: str, calls: int) -> None:
    ledger = Ledger.open(Store.open(url), Caps(day_usd=CAP_USD))
    async with anyio.create_task_group() as tasks:
        for number in range(calls):
            tasks.start_soon(_call, ledger, f"{os.getpid()}.{number}")


async def _reserve_and_die(url: str) -> None:
    ledger = Ledger.open(Store.open(url), Caps(day_usd=WIDE_CAP_USD))
    with contextlib.suppress(BudgetExceeded):
        await ledger.reserve(
            user="u", session="s", turn=str(os.getpid()), track="api", usd=CALL_USD, lease_s=600
        )
    os.kill(os.getpid(), signal.SIGKILL)


async def _reserve_until_killed(url: str) -> None:
    ledger = Ledger.open(Store.open(url), Caps(day_usd=WIDE_CAP_USD))
    for number in range(1_000_000):
        try:
            reservation = await ledger.reserve(
                user="u", session="s", turn=f"{os.getpid()}.{number}", track="api", usd=CALL_USD
            )
        except BudgetExceeded:
            continue
        await ledger.settle(reservation, 0.0)


def _fork(number: int, mode: str, url: str, calls: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        if mode == "contend":
            anyio.run(_contend, url, calls)
        else:
            anyio.run(_reserve_until_killed if number % 2 else _reserve_and_die, url)
    finally:
        os._exit(0)


def main(mode: str, url: str, processes: int) -> None:
    """Fork the processes, kill them in mode `die`, and wait for all."""
    chance = random.Random(0)  # noqa: S311 - a seed, no secret
    for first in range(0, processes, _CONCURRENT):
        numbers = range(first, min(first + _CONCURRENT, processes))
        children = {n: _fork(n, mode, url, CALLS // processes or 1) for n in numbers}
        for number, child in children.items():
            if mode == "die" and number % 2:
                time.sleep(0.02 + chance.random() * 0.03)
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
