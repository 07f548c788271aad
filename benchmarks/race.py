"""Races over real sockets that a naive router loses: three traps, and what a thousand races leave.

Every question goes to two upstreams in another process. The same question is asked, in turn, by
vanta, by a plain client of the fast server alone, and by a race over the same SDK that decides by
the first response. What is measured exactly is said in `benchmarks/races.py`. The loser's
connection is closed when its server sees that, on the same monotonic clock as the `Committed`
event. Invariant: leaks are counted in a run of vanta alone, so that nobody else's are blamed on it.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import anyio

from vanta import install_hint
from vanta.errors import UsageError, VantaError

from . import leaks
from . import peer as peers
from .contestants import Contestant, HeadersRace, PlainClient, Sample, open_clients, open_vanta
from .races import PLAIN, Races
from .report import Figure, median, percentile
from .servers import serve
from .settings import Settings
from .traps import SPRINT, TRAPS, Trap

SUMMARY = "first content, losers and leaks of races with traps, over real sockets"

FIRST_CONTENT_GOAL_MS = 10.0
CLOSED_GOAL_MS = 50.0
PEER = "a race by response headers over the same SDK"
VANTA, HEADERS, LITELLM = "vanta", "by headers", "litellm"
_WARM_UP = 3
_COUNTED = ("tasks", "threads", "sockets")
_OVER_IDEAL = "first content over the ideal, p99"
_OVER_PLAIN = "first content from the ask, over the plain client, p99"
_CLOSED = "loser's connection closed after the commit, slowest"
_RIGHT = "races answered by the right leg"


def run(settings: Settings) -> Iterator[Figure]:
    """Race in each trap, then count what is left."""
    for trap in TRAPS:
        yield from _taken(_names(trap), functools.partial(_trap_figures, trap, settings))
    names = [f"{what} left" for what in _COUNTED]
    yield from _taken(names, functools.partial(_leak_figures, settings))


def _taken(names: list[str], measure: Callable[[], Iterable[Figure]]) -> list[Figure]:
    """The figures; where they cannot be taken, their names and why."""
    try:
        _require("openai", "h11")
        return list(measure())
    except VantaError as error:
        return [Figure(name=name, value=None, unit="", note=f"{error}") for name in names]


def _require(*libraries: str) -> None:
    for name in libraries:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"{name!r} is not installed: {install_hint('openai', 'testing')}")


def _races(trap: Trap, settings: Settings) -> Races:
    races = Races(trap)
    with tempfile.TemporaryDirectory() as folder, serve(trap) as servers:
        anyio.run(_take_turns, races, servers.urls, folder, settings)
        _ask_litellm(races, servers.urls, settings)
        races.served = servers.collect()
    return races


def _ask_litellm(races: Races, urls: tuple[str, str], settings: Settings) -> None:
    """The same number of races in the router's own process."""
    rounds = len(races.samples[VANTA])
    try:
        found = peers.measure("litellm_race", *urls, str(rounds), settings=settings)
    except peers.NoPeer as why:
        races.litellm = str(why)
        return
    races.litellm = f"litellm {found['version']}, fastest response"
    races.samples[LITELLM] = [Sample(**sample) for sample in found["samples"]]


def _beside(races: Races) -> str:
    """What litellm came to, or why there is no number."""
    if LITELLM not in races.samples:
        return races.litellm
    over = _finite(percentile(races.over_ideal(LITELLM), 0.99))
    late = "no answer" if over is None else f"{over:.1f} ms over the ideal"
    count = len(races.samples[LITELLM])
    return f"{races.litellm}: {late} at p99, {races.right(LITELLM)} of {count} right."


async def _take_turns(races: Races, urls: tuple[str, str], folder: str, settings: Settings) -> None:
    """Race; who goes first changes from round to round."""
    rounds = settings.times(300, 30)
    async with open_clients(urls) as clients, open_vanta(races.trap, urls, folder) as vanta:
        contestants: list[tuple[str, Contestant]] = [
            (VANTA, vanta),
            (PLAIN, PlainClient(clients[1])),
            (HEADERS, HeadersRace(clients)),
        ]
        races.samples = {name: [] for name, _ in contestants}
        for number in range(-_WARM_UP, rounds):
            for name, contestant in contestants:
                sample = await contestant.race(f"race {number} of {name}")
                if number >= 0:
                    races.samples[name].append(sample)
            contestants.append(contestants.pop(0))
            settings.progress(races.trap.name, max(0, number + 1), rounds)


def _names(trap: Trap) -> list[str]:
    """What the figures of a trap are called."""
    measured = [_OVER_IDEAL, _OVER_PLAIN, *([_CLOSED] if trap.loser else []), _RIGHT]
    return [f"{trap.name}: {each}" for each in measured]


def _trap_figures(trap: Trap, settings: Settings) -> Iterator[Figure]:
    races = _races(trap, settings)
    name, count = trap.name, len(races.samples[VANTA])
    yield _first_content(
        f"{name}: {_OVER_IDEAL}",
        (races.over_ideal(VANTA), races.over_ideal(HEADERS)),
        FIRST_CONTENT_GOAL_MS,
        f"{trap.summary}. Ideal: first token sent + {races.latency_ms:.1f} ms, which the "
        "plain client takes; it is itself "
        f"{percentile(races.over_ideal(PLAIN), 0.99):.1f} ms over that at p99.",
    )
    yield _first_content(
        f"{name}: {_OVER_PLAIN}",
        (races.over_plain(VANTA), races.over_plain(HEADERS)),
        None,
        "For reference: all that comes before the requests is in it. "
        f"The plain client itself at p99: {percentile(races.over_plain(PLAIN), 0.99):.1f} ms over "
        "its median.",
    )
    if trap.loser:
        yield _closed(races)
    yield Figure(
        name=f"{name}: {_RIGHT}",
        value=races.right(VANTA),
        unit="races",
        better="higher",
        goal=count,
        peer=PEER,
        peer_value=races.right(HEADERS),
        note=_said("vanta", races.failures(VANTA))
        + _said("peer", races.failures(HEADERS))
        + _beside(races),
    )


def _first_content(
    name: str, values: tuple[Sequence[float], Sequence[float]], goal: float | None, note: str
) -> Figure:
    """values: of vanta and of the peer."""
    ours, theirs = values
    return Figure(
        name=name,
        value=_finite(percentile(ours, 0.99)),
        unit="ms",
        goal=goal,
        peer=PEER,
        peer_value=_finite(percentile(theirs, 0.99)),
        note=f"{len(ours)} races, median {median(ours):.1f} ms. {note}"
        + _unanswered("vanta", ours)
        + _unanswered("peer", theirs),
    )


def _closed(races: Races) -> Figure:
    values, peer_values = races.closed_after(VANTA), races.closed_after(HEADERS)
    note = f"{len(values)} losers"
    if not peer_values:
        note += "; the peer has none: it keeps the slow leg"
    if values:
        note += f", median {median(values):.1f} ms, p99 {percentile(values, 0.99):.1f} ms"
    return Figure(
        name=f"{races.trap.name}: {_CLOSED}",
        value=_finite(max(values, default=None)),
        unit="ms",
        goal=CLOSED_GOAL_MS,
        peer=PEER,
        peer_value=_finite(max(peer_values, default=None)),
        note=note + _unanswered("vanta", values, "were never closed"),
    )


def _leak_figures(settings: Settings) -> Iterator[Figure]:
    rounds = settings.times(1000, 200)
    threads = leaks.threads()
    left = leaks.Left()
    with tempfile.TemporaryDirectory() as folder, serve(SPRINT) as servers:
        anyio.run(_sprint, left, servers.urls, folder, rounds, settings)
    left.threads = leaks.threads() - threads
    note = f"after {rounds} races of vanta alone, once the runtime is closed"
    for what in _COUNTED:
        value = getattr(left, what)
        untold = "this system does not tell which sockets a process has"
        yield Figure(
            name=f"{what} left",
            value=value,
            unit=what,
            goal=0,
            note=note if value is not None else untold,
        )


async def _sprint(
    left: leaks.Left, urls: tuple[str, str], folder: str, rounds: int, settings: Settings
) -> None:
    tasks, sockets = leaks.tasks(), leaks.sockets()
    async with open_vanta(SPRINT, urls, folder) as vanta:
        for number in range(rounds):
            await vanta.race(f"race {number}")
            settings.progress(SPRINT.name, number + 1, rounds)
    await anyio.sleep(0.1)  # closed transports let go of their sockets in the loop's next rounds
    left.tasks = leaks.tasks() - tasks
    now = leaks.sockets()
    left.sockets = None if sockets is None or now is None else now - sockets


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def _unanswered(who: str, values: Sequence[float], what: str = "had no answer") -> str:
    count = sum(map(math.isinf, values))
    return f" {who}: {count} of {len(values)} {what}." if count else ""


def _said(who: str, failures: Sequence[str]) -> str:
    return (
        f"{who}: {len(failures)} failed, the first with: {failures[0].rstrip('.')}. "
        if failures
        else ""
    )
