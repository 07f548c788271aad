"""Races over real sockets that a naive router loses: three traps, and leaks after many races.

Each message goes to two upstreams in another process. Vanta, a plain client of the fast server, and
a race over the same SDK that decides by the first response take turns. The *ideal* is the moment at
which the earliest first token was sent, as recorded by the servers, plus the median latency of the
plain client in the same run from there to having the text. If a contestant cut the fast server off
before its first token, the moment at which that token was due counts. A loser is closed when its
server sees the closed connection, on the same monotonic clock as the `Committed` event.

Invariant: no race is left out, and a race without an answer takes infinitely long. Leaks are
counted in a run of vanta alone, so that they cannot come from another contestant.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import anyio

from vanta import UsageError, VantaError, install_hint

from . import peer as peers
from .contestants import Contestant, HeadersRace, PlainClient, Sample, open_clients, open_vanta
from .machine import Leaks, count_sockets, count_tasks, count_threads
from .report import Figure, Settings, median, percentile
from .servers import SPRINT, TRAPS, WORDS, Served, Trap, serve

SUMMARY = "first content, losers and leaks of races with traps, over real sockets"

FIRST_CONTENT_GOAL_MS = 10.0
OVER_PLAIN_GOALS_MS = {"median": 5.0, "p99": 10.0}
CLOSED_GOAL_MS = 50.0
PEER = "a race by response headers over the same SDK"
VANTA, PLAIN, HEADERS, LITELLM = "vanta", "plain", "by headers", "litellm"
_WARM_UP = 3
_NOT_SERVED = Served(None, None)
_RESOURCES = ("tasks", "threads", "sockets")
_OVER_IDEAL = "first content over the ideal, p99"
_OVER_PLAIN = "first content over the plain client, memory on"
_CLOSED = "loser's connection closed after the commit, slowest"
_RIGHT = "races answered by the right leg"


@dataclass(slots=True)
class Races:
    """The races of one trap, in milliseconds.

    `samples` are by contestant, in order; `served` are the records of the servers by tag. `litellm`
    is its version, or why it was not measured.
    """

    trap: Trap
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    served: dict[str, Served] = field(default_factory=dict)
    litellm: str = ""

    def over_ideal(self, name: str) -> list[float]:
        """Return the time from the ideal moment to the first content of each race."""
        latency_ms = self.latency_ms
        return [after - latency_ms for after in self._after_first_token(name)]

    def over_plain(self, name: str) -> list[float]:
        """Return the time to first content of each race, minus the median of the plain client."""
        plain = median(self.from_ask(PLAIN)) or 0.0
        return [time_ms - plain for time_ms in self.from_ask(name)]

    def from_ask(self, name: str) -> list[float]:
        """Return the time from the message to first content of each race."""
        return [_ms(s.asked_at, s.first_content_at) for s in self.samples[name]]

    def closed_after(self, name: str) -> list[float]:
        """Return the time from the commit until the slow server saw its connection closed."""
        return [
            _ms(sample.committed_at, slow.client_gone_at)
            for sample in self.samples[name]
            if (slow := self._served(sample).slow) and not slow.complete
        ]

    def right(self, name: str) -> int:
        """Return the number of races that ended with the whole answer of the fast server."""
        answer = "".join(WORDS).format("fast")
        return sum(sample.text == answer for sample in self.samples[name])

    def failures(self, name: str) -> list[str]:
        """Return the error messages of the races without an answer."""
        return [sample.failure for sample in self.samples[name] if sample.failure]

    @property
    def latency_ms(self) -> float:
        """The median latency of the plain client, from the first token sent to having it."""
        return median(self._after_first_token(PLAIN)) or 0.0

    def _after_first_token(self, name: str) -> list[float]:
        return [_ms(self._earliest(s), s.first_content_at) for s in self.samples[name]]

    def _earliest(self, sample: Sample) -> float | None:
        """Return when the earliest first token was sent or was due."""
        slow, fast = self._served(sample)
        sent = [
            record.first_token_at for record in (slow, fast) if record and record.first_token_at
        ]
        if fast and fast.first_token_at is None:
            sent.append(fast.started_at + self.trap.first_token_s)
        return min(sent, default=None)

    def _served(self, sample: Sample) -> Served:
        return self.served.get(sample.tag, _NOT_SERVED)


def run(settings: Settings) -> Iterator[Figure]:
    """Race in each trap, then count leaked resources."""
    for trap in TRAPS:
        yield from _measured(_names(trap), functools.partial(_trap_figures, trap, settings))
    names = [f"{what} left" for what in _RESOURCES]
    yield from _measured(names, functools.partial(_leak_figures, settings))


def _measured(names: list[str], measure: Callable[[], Iterable[Figure]]) -> list[Figure]:
    """Return the figures, or if they cannot be measured their names and the reason."""
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
        _race_litellm(races, servers.urls, settings)
        races.served = servers.collect()
    return races


def _race_litellm(races: Races, urls: tuple[str, str], settings: Settings) -> None:
    """Run the same number of races through litellm, in its own process."""
    rounds = len(races.samples[VANTA])
    try:
        measured = peers.measure("litellm_race", *urls, str(rounds), settings=settings)
    except peers.NoPeer as why:
        races.litellm = str(why)
        return
    races.litellm = f"litellm {measured['version']}, fastest response"
    races.samples[LITELLM] = [Sample(**sample) for sample in measured["samples"]]


def litellm_note(races: Races) -> str:
    """Return the result of litellm, or why it was not measured."""
    if LITELLM not in races.samples:
        return races.litellm
    over = _finite(percentile(races.over_ideal(LITELLM), 0.99))
    late = "no answer" if over is None else f"{over:.1f} ms over the ideal"
    count = len(races.samples[LITELLM])
    return f"{races.litellm}: {late} at p99, {races.right(LITELLM)} of {count} right."


async def _take_turns(races: Races, urls: tuple[str, str], folder: str, settings: Settings) -> None:
    """Run all races; the order of the contestants rotates."""
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
    """Return the names of the figures of a trap."""
    over_plain = [f"{_OVER_PLAIN}, {part}" for part in OVER_PLAIN_GOALS_MS]
    parts = [_OVER_IDEAL, *over_plain, *([_CLOSED] if trap.loser else []), _RIGHT]
    return [f"{trap.name}: {part}" for part in parts]


def _trap_figures(trap: Trap, settings: Settings) -> Iterator[Figure]:
    races = _races(trap, settings)
    name, count = trap.name, len(races.samples[VANTA])
    yield first_content_figure(
        f"{name}: {_OVER_IDEAL}",
        (races.over_ideal(VANTA), races.over_ideal(HEADERS)),
        FIRST_CONTENT_GOAL_MS,
        f"{trap.summary}. Ideal: first token sent + {races.latency_ms:.1f} ms, which the "
        "plain client takes; its own p99 is "
        f"{percentile(races.over_ideal(PLAIN), 0.99):.1f} ms over that.",
    )
    yield from over_plain_figures(races)
    if trap.loser:
        yield closed_figure(races)
    yield Figure(
        name=f"{name}: {_RIGHT}",
        value=races.right(VANTA),
        unit="races",
        better="higher",
        goal=count,
        peer=PEER,
        peer_value=races.right(HEADERS),
        note=_failure_note("vanta", races.failures(VANTA))
        + _failure_note("peer", races.failures(HEADERS))
        + litellm_note(races),
    )


def over_plain_figures(races: Races) -> Iterator[Figure]:
    """Return the time to first content from the ask, over the plain client: median and p99.

    It includes everything before the requests, such as the recall from all earlier races.
    """
    ours, theirs = races.over_plain(VANTA), races.over_plain(HEADERS)
    own_p99 = percentile(races.over_plain(PLAIN), 0.99)
    for (part, goal), share in zip(OVER_PLAIN_GOALS_MS.items(), (0.5, 0.99), strict=True):
        yield Figure(
            name=f"{races.trap.name}: {_OVER_PLAIN}, {part}",
            value=_finite(percentile(ours, share)),
            unit="ms",
            goal=goal,
            peer=PEER,
            peer_value=_finite(percentile(theirs, share)),
            note=f"{len(ours)} races, from the ask, each in a session of its own; memory recalls "
            f"by words from all earlier races. p99 of the plain client: {own_p99:.1f} ms over its "
            "median." + _unanswered("vanta", ours) + _unanswered("peer", theirs),
        )


def first_content_figure(
    name: str, values: tuple[Sequence[float], Sequence[float]], goal: float | None, note: str
) -> Figure:
    """Return a figure of the p99 of `values`, those of vanta and those of the peer."""
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


def closed_figure(races: Races) -> Figure:
    values, peer_values = races.closed_after(VANTA), races.closed_after(HEADERS)
    note = f"{len(values)} losers"
    if not peer_values:
        note += "; the peer has none, because it keeps the slow leg"
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
    threads = count_threads()
    leaks = Leaks()
    with tempfile.TemporaryDirectory() as folder, serve(SPRINT) as servers:
        anyio.run(_sprint, leaks, servers.urls, folder, rounds, settings)
    leaks.threads = count_threads() - threads
    note = f"after {rounds} races of vanta alone, once the runtime is closed"
    for what in _RESOURCES:
        value = getattr(leaks, what)
        unknown = "this system does not list the sockets of a process"
        yield Figure(
            name=f"{what} left",
            value=value,
            unit=what,
            goal=0,
            note=note if value is not None else unknown,
        )


async def _sprint(
    leaks: Leaks, urls: tuple[str, str], folder: str, rounds: int, settings: Settings
) -> None:
    tasks, sockets = count_tasks(), count_sockets()
    async with open_vanta(SPRINT, urls, folder) as vanta:
        for number in range(rounds):
            await vanta.race(f"race {number}")
            settings.progress(SPRINT.name, number + 1, rounds)
    await anyio.sleep(0.1)  # closed transports release their sockets later
    leaks.tasks = count_tasks() - tasks
    now = count_sockets()
    leaks.sockets = None if sockets is None or now is None else now - sockets


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def _unanswered(name: str, values: Sequence[float], what: str = "had no answer") -> str:
    count = sum(map(math.isinf, values))
    return f" {name}: {count} of {len(values)} {what}." if count else ""


def _failure_note(name: str, failures: Sequence[str]) -> str:
    return (
        f"{name}: {len(failures)} failed, the first with: {failures[0].rstrip('.')}. "
        if failures
        else ""
    )


def _ms(begin: float | None, end: float | None) -> float:
    """Return the milliseconds between two moments, or infinity if one of them never occurred."""
    return math.inf if begin is None or end is None else 1000 * (end - begin)
