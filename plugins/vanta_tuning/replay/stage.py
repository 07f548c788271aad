"""The stage: recorded turns through the scheduler that runs live ones, on a clock that jumps.

Nothing of a policy is imitated here: `Race` interprets it as it does in a session, gates judge as
they do there, delays are learned and breakers open as in a runtime, and only the engines are
recordings; a policy that learns begins knowing nothing. Invariant: the same recordings, policy and
rules give the same results, to the last digit.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from vanta.engine import GenerationRequest
from vanta.errors import EngineError, UsageError
from vanta.events import Event
from vanta.messages import Completion
from vanta.scheduling import (
    Gate,
    GateRule,
    HealthRule,
    Policy,
    Race,
    RaceOutcome,
    RacePlan,
    RaceSettings,
    SignalsGate,
    TrackStats,
    Verdict,
)
from vanta.track import Price, Track
from vanta_tuning.replay import clock
from vanta_tuning.replay.engine import ReplayEngine
from vanta_tuning.replay.plays import Play, Recording

DIGITS = 9
"""Results are in whole nanoseconds: below that is only the clock's rounding."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What turns are replayed under. Times in seconds; prices by track; gates by name. is_hard:
    what the router says of a message under a policy, None where it is not asked."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    deadline_s: float = 60.0
    stall_timeout_s: float = 15.0
    retries: int = 1
    health: HealthRule = field(default_factory=HealthRule)
    is_hard: Callable[[str, Policy], bool | None] = lambda _text, _policy: None
    gates: Mapping[str, Gate] = field(default_factory=lambda: {"signals": SignalsGate()})


@dataclass(frozen=True, slots=True)
class Result:
    """How one turn went. track: who served it, None if nobody did. asked: the tracks that were,
    in order. first_content_s: None if the user never saw a word. score: of the answer served, 0
    if there was none, None if the recording does not say."""

    id: str
    track: str | None
    asked: tuple[str, ...]
    first_content_s: float | None
    duration_s: float
    cost_usd: float
    score: float | None


def replay(
    recordings: Sequence[Recording], policy: Policy, rules: Rules | None = None, *, seed: int = 0
) -> list[Result]:
    """Run every recording under `policy`; the results in the order of the recordings.

    Turns with an arrival time begin then and may overlap; the others run one after another. seed:
    for what the scheduler itself draws (the jitter of a retry). Raises UsageError for a policy
    with a track that a recording has no play of.
    """
    _require_own_ids(recordings)
    for recording in recordings:
        _require_plays(recording, policy)
    with _seeded(seed):
        return clock.run(_Stage(recordings, policy, rules or Rules()).run)


class _Stage:
    """One replay: the tracks, and the turns on them."""

    def __init__(self, recordings: Sequence[Recording], policy: Policy, rules: Rules) -> None:
        self._recordings = recordings
        self._policy = policy
        self._rules = rules
        by_id = {recording.id: recording for recording in recordings}
        self._tracks = {
            name: Track(
                name,
                ReplayEngine(name, by_id, rules.stall_timeout_s / 2),
                price=rules.prices.get(name, Price()),
            )
            for name in policy.tracks
        }
        self._track_stats = TrackStats(rules.health)
        self._results: dict[str, Result] = {}

    async def run(self) -> list[Result]:
        """Run all turns."""
        async with anyio.create_task_group() as tasks:
            for recording in self._recordings:
                if recording.arrives_s is None:
                    await self._turn(recording)
                    continue
                await anyio.sleep(max(0.0, recording.arrives_s - anyio.current_time()))
                tasks.start_soon(self._turn, recording)
        return [self._results[recording.id] for recording in self._recordings]

    async def _turn(self, recording: Recording) -> None:
        rules, now = self._rules, anyio.current_time()
        policy = self._track_stats.resolve(self._policy)
        settings = RaceSettings(
            policy=policy,
            deadline_s=rules.deadline_s,
            stall_timeout_s=rules.stall_timeout_s,
            gate=_RecordedGate(recording.plays, self._gate()),
            retries=rules.retries,
            hard=rules.is_hard(recording.text, policy),
            track_stats=self._track_stats,
        )
        plan = RacePlan(
            settings=settings,
            tracks=self._healthy(now),
            preparer=_Script(recording.id),
            started_at=now,
            earliest_s=self._track_stats.waits_s(self._tracks, now),
        )
        race = Race(plan, _nobody)
        outcome = await race.run()
        self._results[recording.id] = _result(recording, outcome, race.now())

    def _healthy(self, now: float) -> dict[str, Track]:
        """The tracks that may be asked, as a live turn chooses them."""
        resting = self._track_stats.refusals(self._tracks, now)
        if len(resting) == len(self._tracks):
            return self._tracks
        return {name: track for name, track in self._tracks.items() if name not in resting}

    def _gate(self) -> Gate:
        rule = self._policy.gate or GateRule()
        return self._rules.gates[rule.use]


class _Script:
    """Prepares requests that name the recording."""

    __slots__ = ("_request",)

    def __init__(self, recording: str) -> None:
        self._request = GenerationRequest((), session=recording)

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        """The same for every track."""
        return self._request

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        """A refusal was recorded, too: there is nothing to shorten."""
        raise refusal

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        """A verifier's word was not recorded: it plays its answer, which is neither yes nor no."""
        return self._request


class _RecordedGate:
    """The policy's own gate, or, of an answer of which nothing but its verdict was recorded, that
    verdict."""

    __slots__ = ("_gate", "_plays", "name")

    def __init__(self, plays: Mapping[str, Play], gate: Gate) -> None:
        self._plays = plays
        self._gate = gate
        self.name = gate.name

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a played answer."""
        play = self._plays[answer.model or ""]
        if play.accepted is not None and play.mean_logprob is None:
            return Verdict(play.accepted, None, "as it was recorded")
        return await self._gate.judge(answer, rule)


def _nobody(_event: Event) -> None:
    """Nobody watches a replay."""


def _result(recording: Recording, outcome: RaceOutcome, duration_s: float) -> Result:
    legs = [leg.trace() for leg in outcome.legs]
    served = outcome.leg.track.name if outcome.leg else None
    first_s = outcome.first_content_s
    known = any(play.score is not None for play in recording.plays.values())
    score = recording.plays[served].score if served else 0.0 if known else None
    return Result(
        id=recording.id,
        track=served,
        asked=tuple(leg.track for leg in legs),
        first_content_s=None if first_s is None else round(first_s, DIGITS),
        duration_s=round(duration_s, DIGITS),
        cost_usd=sum(leg.cost_usd for leg in legs),
        score=score,
    )


def _require_own_ids(recordings: Sequence[Recording]) -> None:
    (most, times), *_ = Counter(recording.id for recording in recordings).most_common(1) or [
        ("", 0)
    ]
    if times > 1:
        raise UsageError(
            f"{times} turns have the id {most!r}. Give each its own, or no ids at all."
        )


def _require_plays(recording: Recording, policy: Policy) -> None:
    missing = [track for track in policy.tracks if track not in recording.plays]
    if missing:
        raise UsageError(
            f"policy {policy.name!r} asks track {missing[0]!r}, of which turn {recording.id!r} has "
            f"no recording (it has {', '.join(map(repr, recording.plays))}). Name the track's "
            "columns, or choose a policy that does without it."
        )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
