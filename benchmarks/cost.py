"""Whether money holds: caps under concurrency, cancels and crashes, and what a reservation costs.

All on SQLite on disk, as a runtime has it. The peer is a budget that is checked before a call and
written after it (`naive`), on the same store and, where it takes part, in the same schedules.
Invariant: what was spent is counted by the benchmark; the killed processes are real ones.
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

from vanta.errors import BudgetExceeded
from vanta.money import Caps, Ledger, TurnPurse
from vanta.money.books import legs
from vanta.money.reservation import Owner
from vanta.storage import Store, sqlite_url
from vanta.testing import ScriptedEngine
from vanta.track import Track

from .mortals import CALL_USD, CALLS, CAP_USD
from .naive import Naive
from .report import Figure, median, percentile
from .schedules import OpenTill, Schedule, Tally, Till
from .settings import Settings

SUMMARY = "whether caps hold under concurrency and crashes, and what a reservation costs"

PEER = "a budget checked before a call and written after it, on the same store"
_PROCESSES = 3
_MOST_OF_PEER = 1_000
_ALLOWED = int(CAP_USD / CALL_USD)
_MORTALS = Path(__file__).with_name("mortals.py")


def run(settings: Settings) -> list[Figure]:
    """Play the schedules, then the twenty calls, then the processes, then take the time."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_schedule_figures(Path(folder) / "schedules", settings),
            *_call_figures(Path(folder), settings),
            *_killed_figures(Path(folder) / "killed", settings),
            *_time_figures(Path(folder) / "time", settings),
        ]


def _open_ledger(store: Store, caps: Caps, name: str, clock: Callable[[], float]) -> Till:
    # Processes of another host: they cannot be looked at, so that leases alone bring money back.
    return Ledger(store, caps, owner=Owner("elsewhere", name), clock=clock)


def _open_naive(store: Store, caps: Caps, _name: str, clock: Callable[[], float]) -> Till:
    return Naive(store, caps, clock)


def _schedule_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    rounds = settings.times(10_000, 300)
    ours = _play(folder / "ours", rounds, _open_ledger, settings, "schedules")
    of_peer = min(rounds, _MOST_OF_PEER)
    theirs = _play(folder / "theirs", of_peer, _open_naive, settings, "schedules of the peer")
    told = ", ".join(f"{count} legs {what}" for what, count in sorted(ours.legs.items()))
    yield Figure(
        name="random schedules that passed a cap",
        value=100 * ours.overspent / rounds,
        unit="%",
        goal=0,
        peer=PEER,
        peer_value=100 * theirs.overspent / of_peer,
        note=f"of {rounds} (the peer of {of_peer}) with hedges, cancels and crashes (leases that "
        f"run out) on {_PROCESSES} connections; {told}",
    )
    yield Figure(
        name="random schedules that left money reserved",
        value=100 * ours.left / rounds,
        unit="%",
        goal=0,
        note="after the leases of crashed legs had run out and anybody had reserved once more",
    )


def _play(folder: Path, rounds: int, open_till: OpenTill, settings: Settings, what: str) -> Tally:
    tally = Tally()

    async def play() -> None:
        with ExitStack() as stack:
            stores = [_store(folder, stack) for _ in range(_PROCESSES)]
            for number in range(rounds):
                await Schedule(number, stores, open_till, tally).run()
                settings.progress(what, number + 1, rounds)

    anyio.run(play)
    return tally


def _store(folder: Path, stack: ExitStack) -> Store:
    """A connection of its own to the database in `folder`, with the tables of both."""
    store = Store.open(sqlite_url(folder))
    stack.callback(store.close)
    Ledger.open(store, Caps())
    Naive.create(store)
    return store


def _call_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    settings.progress("twenty calls", 0, 1)
    name = f"{CALLS} calls of ${CALL_USD} at once against ${CAP_USD}"
    yield Figure(
        name=f"{name}: off the {_ALLOWED} that the cap allows",
        value=abs(_passed(folder / "calls", _open_ledger) - _ALLOWED),
        unit="calls",
        goal=0,
        peer=PEER,
        peer_value=abs(_passed(folder / "naive calls", _open_naive) - _ALLOWED),
        note="one process, one event loop",
    )
    for processes in (2, 4):
        passed, why = _contend(folder / f"{processes} processes", processes)
        yield Figure(
            name=f"{name} from {processes} processes: off the {_ALLOWED} that the cap allows",
            value=None if passed is None else abs(passed - _ALLOWED),
            unit="calls",
            goal=0,
            note=why,
        )


def _passed(folder: Path, open_till: OpenTill) -> int:
    """How many of the calls were let through."""
    passed: list[str] = []

    async def call(till: Till, turn: str) -> None:
        whose = {"user": "u", "session": "s", "track": "api"}
        try:
            held = await till.reserve(**whose, turn=turn, usd=CALL_USD, lease_s=600)
        except BudgetExceeded:
            return
        passed.append(turn)
        await till.settle(held, CALL_USD)

    async def calls() -> None:
        with ExitStack() as stack:
            till = open_till(_store(folder, stack), Caps(day_usd=CAP_USD), "one", time.time)
            async with anyio.create_task_group() as tasks:
                for number in range(CALLS):
                    tasks.start_soon(call, till, str(number))

    anyio.run(calls)
    return len(passed)


def _contend(folder: Path, processes: int) -> tuple[int | None, str]:
    """How many calls of several processes were let through, or None and why nobody knows."""
    if why := _mortals("contend", folder, processes):
        return None, why
    return _look(folder, "settled"), "forked processes, each with a connection of its own"


def _killed_figures(folder: Path, settings: Settings) -> Iterator[Figure]:
    deaths = settings.times(300, 100)
    settings.progress("killed processes", 0, deaths)
    why = _mortals("die", folder, deaths)
    left = None if why else _left_by_the_dead(folder)
    note = f"{deaths} processes, half of them between reserve and settle, half at a random moment"
    yield Figure(
        name="killed processes (SIGKILL): reservations left after the next reserve",
        value=left,
        unit="reservations",
        goal=0,
        note=why or note,
    )


def _left_by_the_dead(folder: Path) -> int:
    """Reserve the whole cap, settle it at nothing, and count what is still reserved."""

    async def look() -> int:
        with ExitStack() as stack:
            ledger = Ledger.open(_store(folder, stack), Caps(day_usd=CAP_USD))
            whose = {"user": "u", "session": "s", "turn": "last", "track": "api"}
            await ledger.settle(await ledger.reserve(**whose, usd=CAP_USD), 0.0)
        return _look(folder, "reserved")

    return anyio.run(look)


def _mortals(mode: str, folder: Path, processes: int) -> str:
    """Run the processes; returns why that cannot be done here, "" if it was."""
    if not hasattr(os, "fork"):
        return "this system cannot fork"
    with ExitStack() as stack:
        _store(folder, stack)
    command = [sys.executable, str(_MORTALS), mode, sqlite_url(folder), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return f"it failed: {done.stderr.strip()[-200:]}" if done.returncode else ""


def _look(folder: Path, state: str) -> int:
    """The number of legs in a state."""
    query = sa.select(sa.func.count()).where(legs.c.state == state)
    with ExitStack() as stack:
        store = _store(folder, stack)
        return int(store.transact_now(lambda at: at.execute(query).scalar_one()))


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
        note="it never touches the ledger",
    )


async def _take_time(
    folder: Path, rounds: int, settings: Settings
) -> tuple[list[float], list[float], list[float]]:
    """Microseconds of our reserve and settle, of the peer's, and of a leg without a price."""
    ours: list[float] = []
    theirs: list[float] = []
    free: list[float] = []
    with ExitStack() as stack:
        store, caps = _store(folder, stack), Caps(day_usd=1e6, user_usd=1e6)
        ledger = Ledger.open(store, caps)
        purse = TurnPurse(ledger, "u", "s", "t", 60)
        track = Track("local", ScriptedEngine())
        request = partial(purse.open_leg, track, None)  # type: ignore[arg-type]
        naive = Naive(store, caps, time.time)
        for number in range(rounds):
            ours.append(await _timed(partial(_pay, ledger, str(number))))
            theirs.append(await _timed(partial(_pay, naive, str(number))))
            free.append(await _timed(request))
            settings.progress("reserve and settle", number + 1, rounds)
    return ours, theirs, free


async def _pay(till: Till, turn: str) -> None:
    whose = {"user": "u", "session": "s", "turn": turn, "track": "api"}
    await till.settle(await till.reserve(**whose, usd=CALL_USD, lease_s=600), CALL_USD)


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return 1e6 * (time.perf_counter() - begun)
