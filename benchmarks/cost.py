"""Caps under concurrency, cancels and crashes, and the cost of a reservation.

Everything uses SQLite on disk, as a runtime does. The peer is a budget that is checked before a
call and written after it (`UnreservedBudget`), on the same store and in the same schedules.
Invariant: the benchmark itself counts what was spent, and it kills real processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
import sqlalchemy as sa

from vanta import BudgetExceeded, Track
from vanta.money import Caps, Ledger, TurnPurse
from vanta.money.books import legs
from vanta.money.reservation import Owner
from vanta.storage import Store, sqlite_url
from vanta.testing import ScriptedEngine

from .budget_processes import CALL_USD, CALLS, CAP_USD, WIDE_CAP_USD
from .report import Figure, Settings, median, percentile
from .schedules import Budget, OpenBudget, Schedule, Tally, UnreservedBudget

SUMMARY = "caps under concurrency and crashes, and the cost of a reservation"

PEER = "a budget checked before a call and written after it, on the same store"
_PROCESSES = 3
_MAX_PEER_SCHEDULES = 1_000
_ALLOWED = int(CAP_USD / CALL_USD)
_PROGRAM = Path(__file__).with_name("budget_processes.py")


def run(settings: Settings) -> list[Figure]:
    """Run the schedules, the twenty calls and the killed processes, then time reservations."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_schedule_figures(Path(folder) / "schedules", settings),
            *_call_figures(Path(folder), settings),
            *_killed_figures(Path(folder) / "killed", settings),
            *_time_figures(Path(folder) / "time", settings),
        ]


def open_ledger(store: Store, caps: Caps, name: str, clock: Callable[[], float]) -> Budget:
    """Open a ledger that sees the others as processes of another host.

    Such processes cannot be inspected, so that only expired leases release their money.
    """
    return Ledger(store, caps, owner=Owner("elsewhere", name), clock=clock)


def open_unreserved(store: Store, caps: Caps, _name: str, clock: Callable[[], float]) -> Budget:
    """Open the peer."""
    return UnreservedBudget(store, caps, clock)


def _schedule_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    rounds = settings.times(10_000, 300)
    ours = play(folder / "ours", rounds, open_ledger, settings, "schedules")
    peer_rounds = min(rounds, _MAX_PEER_SCHEDULES)
    step = "schedules of the peer"
    theirs = play(folder / "theirs", peer_rounds, open_unreserved, settings, step)
    legs_note = ", ".join(f"{count} legs {state}" for state, count in sorted(ours.legs.items()))
    yield Figure(
        name="random schedules that passed a cap",
        value=100 * ours.overspent / rounds,
        unit="%",
        goal=0,
        peer=PEER,
        peer_value=100 * theirs.overspent / peer_rounds,
        note=f"of {rounds} (the peer of {peer_rounds}) with hedges, cancels and crashes "
        f"(leases that expire) on {_PROCESSES} connections; {legs_note}",
    )
    yield Figure(
        name="random schedules that left money reserved",
        value=100 * ours.left / rounds,
        unit="%",
        goal=0,
        note="after the leases of crashed legs had expired and another user had reserved",
    )


def play(
    folder: Path, rounds: int, open_budget: OpenBudget, settings: Settings, step: str
) -> Tally:
    """Run `rounds` random schedules against a budget and return their results."""
    tally = Tally()

    async def run_all() -> None:
        with ExitStack() as stack:
            stores = [_store(folder, stack) for _ in range(_PROCESSES)]
            for number in range(rounds):
                await Schedule(number, stores, open_budget, tally).run()
                settings.progress(step, number + 1, rounds)

    anyio.run(run_all)
    return tally


def _store(folder: Path, stack: ExitStack) -> Store:
    """Open a new connection to the database in `folder`, with the tables of ledger and peer."""
    store = Store.open(sqlite_url(folder))
    stack.callback(store.close)
    Ledger.open(store, Caps())
    UnreservedBudget.create(store)
    return store


def _call_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    settings.progress("twenty calls", 0, 1)
    name = f"{CALLS} calls of ${CALL_USD} at once against ${CAP_USD}"
    yield Figure(
        name=f"{name}: off the {_ALLOWED} that the cap allows",
        value=abs(_passed(folder / "calls", open_ledger) - _ALLOWED),
        unit="calls",
        goal=0,
        peer=PEER,
        peer_value=abs(_passed(folder / "naive calls", open_unreserved) - _ALLOWED),
        note="one process, one event loop",
    )
    for processes in (2, 4):
        passed, reason = _contend(folder / f"{processes} processes", processes)
        yield Figure(
            name=f"{name} from {processes} processes: off the {_ALLOWED} that the cap allows",
            value=None if passed is None else abs(passed - _ALLOWED),
            unit="calls",
            goal=0,
            note=reason,
        )


def _passed(folder: Path, open_budget: OpenBudget) -> int:
    """Return the number of calls that were allowed."""
    passed: list[str] = []

    async def call(budget: Budget, turn: str) -> None:
        owner = {"user": "u", "session": "s", "track": "api"}
        try:
            reservation = await budget.reserve(**owner, turn=turn, usd=CALL_USD, lease_s=600)
        except BudgetExceeded:
            return
        passed.append(turn)
        await budget.settle(reservation, CALL_USD)

    async def calls() -> None:
        with ExitStack() as stack:
            budget = open_budget(_store(folder, stack), Caps(day_usd=CAP_USD), "one", time.time)
            async with anyio.create_task_group() as tasks:
                for number in range(CALLS):
                    tasks.start_soon(call, budget, str(number))

    anyio.run(calls)
    return len(passed)


def _contend(folder: Path, processes: int) -> tuple[int | None, str]:
    """Return the number of allowed calls of several processes, or None, and a note."""
    if reason := _run_processes("contend", folder, processes):
        return None, reason
    return _count_legs(folder, "settled"), "forked processes, each with a connection of its own"


def _killed_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    deaths = settings.times(300, 100)
    settings.progress("killed processes", 0, deaths)
    reason = _run_processes("die", folder, deaths)
    left = None if reason else _left_reserved(folder)
    note = f"{deaths} processes, half of them between reserve and settle, half at a random moment"
    yield Figure(
        name="killed processes (SIGKILL): reservations left after the next reserve",
        value=left,
        unit="reservations",
        goal=0,
        note=reason or note,
    )


def _left_reserved(folder: Path) -> int:
    """Reserve and settle $0, and count the legs that are still reserved."""

    async def count() -> int:
        with ExitStack() as stack:
            ledger = Ledger.open(_store(folder, stack), Caps(day_usd=WIDE_CAP_USD))
            leg = await ledger.reserve(user="u", session="s", turn="last", track="api", usd=0.0)
            await ledger.settle(leg, 0.0)
        return _count_legs(folder, "reserved")

    return anyio.run(count)


def _run_processes(mode: str, folder: Path, processes: int) -> str:
    """Run the processes; return why they cannot run on this system, or ""."""
    if not hasattr(os, "fork"):
        return "this system cannot fork"
    with ExitStack() as stack:
        _store(folder, stack)
    url = sqlite_url(folder).render_as_string(hide_password=False)
    command = [sys.executable, str(_PROGRAM), mode, url, str(processes)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return f"it failed: {process.stderr.strip()[-200:]}" if process.returncode else ""


def _count_legs(folder: Path, state: str) -> int:
    """Return the number of legs in a state."""
    query = sa.select(sa.func.count()).where(legs.c.state == state)
    with ExitStack() as stack:
        store = _store(folder, stack)
        return int(store.transact_now(lambda connection: connection.execute(query).scalar_one()))


def _time_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    rounds = settings.times(2_000, 500)
    ours, theirs, free = anyio.run(_take_time, folder, rounds, settings)
    note = f"SQLite on disk, two transactions, alone on the database, {rounds} times"
    for name, value, peer_value in (
        ("median", median(ours), median(theirs)),
        ("p99", percentile(ours, 0.99), percentile(theirs, 0.99)),
    ):
        yield Figure(
            name=f"reserve and settle, {name}",
            value=value,
            unit="us",
            peer=PEER,
            peer_value=peer_value,
            note=note,
        )
    yield Figure(
        name="a leg on a track without a price, median",
        value=median(free),
        unit="us",
        note="it does not use the ledger",
    )


async def _take_time(
    folder: Path, rounds: int, settings: Settings
) -> tuple[list[float], list[float], list[float]]:
    """Return the microseconds of reserve and settle, of the peer, and of a leg without a price."""
    ours: list[float] = []
    theirs: list[float] = []
    free: list[float] = []
    with ExitStack() as stack:
        store, caps = _store(folder, stack), Caps(day_usd=1e6, user_usd=1e6)
        ledger = Ledger.open(store, caps)
        purse = TurnPurse(ledger, "u", "s", "t", 60)
        track = Track("local", ScriptedEngine())
        request = partial(purse.open_leg, track, None)  # type: ignore[arg-type]
        unreserved = UnreservedBudget(store, caps, time.time)
        for number in range(rounds):
            ours.append(await _timed(partial(_pay, ledger, str(number))))
            theirs.append(await _timed(partial(_pay, unreserved, str(number))))
            free.append(await _timed(request))
            settings.progress("reserve and settle", number + 1, rounds)
    return ours, theirs, free


async def _pay(budget: Budget, turn: str) -> None:
    owner = {"user": "u", "session": "s", "turn": turn, "track": "api"}
    await budget.settle(await budget.reserve(**owner, usd=CALL_USD, lease_s=600), CALL_USD)


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return 1e6 * (time.perf_counter() - begun)
