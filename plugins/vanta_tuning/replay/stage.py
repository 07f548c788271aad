"""The stage: recorded turns through the scheduler of live ones, on a virtual clock.

No part of a policy is imitated: `Race` interprets it as in a session, gates judge, delays are
learned and breakers open as in a runtime. Only the engines are recordings, and a policy that learns
starts without experience. Invariant: the same recordings, policy and rules give the same results,
to the last digit.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from vanta import (
    Completion,
    EngineError,
    ErrorKind,
    Event,
    Gate,
    GateRule,
    GenerationRequest,
    Policy,
    Price,
    Track,
    UsageError,
    Verdict,
)
from vanta.routing import logit
from vanta.scheduling import (
    HealthRule,
    Race,
    RaceOutcome,
    RacePlan,
    RaceSettings,
    SignalsGate,
    TrackStats,
)
from vanta_tuning.replay import virtual_clock
from vanta_tuning.replay.engine import ReplayEngine, VerificationRequest
from vanta_tuning.replay.recordings import Recording

DIGITS = 9
"""Results are rounded to nanoseconds, above the clock's rounding errors."""


class UnrecordedWordError(UsageError):
    """A policy asks a verifier for a word that the recordings do not have."""

    def __init__(self, policy: str, verifier: str, turn: str) -> None:
        super().__init__(
            f"policy {policy!r} has track {verifier!r} verify the answer of turn {turn!r}, and its "
            f"word is not recorded; its whole answer is not a word. Record it: run turns under the "
            f"policy and export them with `vanta trace export`, or give the table the columns "
            f"'{verifier}.verify_yes' (the probability of yes, 0 to 1) and '{verifier}.verify_s'. "
            "Or model the words: --verifier-auroc 0.8."
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a replay.

    :param prices: by track.
    :param deadline_s: of a turn.
    :param stall_timeout_s: the longest silence of a leg.
    :param retries: of a track after an error that may pass.
    :param health: when a failing track rests.
    :param is_hard: the router's decision on a message under a policy, None if it does not route.
    :param gates: by name.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    deadline_s: float = 60.0
    stall_timeout_s: float = 15.0
    retries: int = 1
    health: HealthRule = field(default_factory=HealthRule)
    is_hard: Callable[[str, Policy], bool | None] = lambda _text, _policy: None
    gates: Mapping[str, Gate] = field(default_factory=lambda: {"signals": SignalsGate()})


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one turn.

    :param id: the id of its recording.
    :param track: the track that answered, None if none did.
    :param asked: the started tracks, in order.
    :param first_content_s: None if there was no content.
    :param duration_s: of the whole turn.
    :param cost_usd: of all legs.
    :param score: of the answer, 0 without one, None if the recording has none.
    """

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
    """Run every recording under `policy`.

    Turns with an arrival time start then and may overlap; the others run one after another.

    :param recordings: with a play for each of the policy's tracks, and different ids.
    :param policy: the policy.
    :param rules: None for the default rules.
    :param seed: for the scheduler's own draws (the jitter of a retry).
    :returns: the results in the order of the recordings.
    :raises UnrecordedWordError: the policy has an answer verified of which no word is recorded.
    :raises UsageError: a recording lacks a track of the policy, or two have one id.
    """
    _require_unique_ids(recordings)
    for recording in recordings:
        _require_plays(recording, policy)
    with _seeded(seed):
        return virtual_clock.run(_Stage(recordings, policy, rules or Rules()).run)


class _Stage:
    """One replay: the tracks and their turns."""

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
        self._missing: UnrecordedWordError | None = None

    async def run(self) -> list[Result]:
        """Run all turns.

        :raises UnrecordedWordError: a verifier's word is missing.
        """
        async with anyio.create_task_group() as tasks:
            for recording in self._recordings:
                if self._missing:
                    break
                if recording.arrives_s is None:
                    await self._turn(recording)
                    continue
                await anyio.sleep(max(0.0, recording.arrives_s - anyio.current_time()))
                tasks.start_soon(self._turn, recording)
        if self._missing:
            raise self._missing
        return [self._results[recording.id] for recording in self._recordings]

    async def _turn(self, recording: Recording) -> None:
        rules, now = self._rules, anyio.current_time()
        policy = self._track_stats.resolve(self._policy)
        settings = RaceSettings(
            policy=policy,
            deadline_s=rules.deadline_s,
            stall_timeout_s=rules.stall_timeout_s,
            gate=_RecordedGate(recording, self._gate()),
            retries=rules.retries,
            hard=rules.is_hard(recording.text, policy),
            track_stats=self._track_stats,
        )
        script = _Script(recording, policy)
        plan = RacePlan(
            settings=settings,
            tracks=self._healthy(now),
            preparer=script,
            started_at=now,
            earliest_s=self._track_stats.waits_s(self._tracks, now),
        )
        race = Race(plan, _ignore)
        outcome = await race.run()
        if script.unrecorded is not None and self._missing is None:
            self._missing = UnrecordedWordError(policy.name, script.unrecorded, recording.id)
        self._results[recording.id] = _result(recording, outcome, race.now())

    def _healthy(self, now: float) -> dict[str, Track]:
        """Return the tracks that may start, as a live turn chooses them."""
        resting = self._track_stats.refusals(self._tracks, now)
        if len(resting) == len(self._tracks):
            return self._tracks
        return {name: track for name, track in self._tracks.items() if name not in resting}

    def _gate(self) -> Gate:
        rule = self._policy.gate or GateRule()
        return self._rules.gates[rule.use]


class _Script:
    """Prepare requests that name the recording.

    :param recording: the turn.
    :param policy: its policy.
    """

    __slots__ = ("_judged", "_recording", "_request", "unrecorded")

    def __init__(self, recording: Recording, policy: Policy) -> None:
        self._recording = recording
        self._judged = [leg.track for leg in policy.legs if leg.commit_on == "verdict"]
        self._request = GenerationRequest((), session=recording.id)
        self.unrecorded: str | None = None

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        """Return the same request for every track."""
        return self._request

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        """Raise the refusal: it was recorded, so there is nothing to shorten."""
        raise refusal

    async def repair(
        self, track: Track, *, answer: str, why: str, judged: bool
    ) -> GenerationRequest:
        """Return the same request for every track."""
        return self._request

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        """Return a request for the recorded word.

        Without one the leg fails, and `unrecorded` is the verifier.
        """
        judged = self._judged[0] if len(self._judged) == 1 else ""
        if self._recording.word(track.name, judged) is None:
            self.unrecorded = track.name
            raise EngineError(ErrorKind.UNSUPPORTED, "no word is recorded", engine="replay")
        return VerificationRequest((), session=self._recording.id, judged=judged)


class _RecordedGate:
    """The policy's own gate; it repeats a probability or a verdict if only that is recorded."""

    __slots__ = ("_gate", "_recording", "name")

    def __init__(self, recording: Recording, gate: Gate) -> None:
        self._recording = recording
        self._gate = gate
        self.name = gate.name

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a played answer."""
        track = answer.model or ""
        play = self._recording.plays[track]
        if play.mean_logprob is not None:
            return await self._gate.judge(answer, rule)
        if play.probability is not None:
            margin = logit(play.probability) - logit(rule.min_probability)
            return Verdict(margin >= 0, play.probability, "as it was recorded", margin)
        if play.accepted is not None:
            # A recorded word shows that the gate was in doubt; by how much is not known.
            in_doubt = any(judged == track for _, judged in self._recording.words)
            return Verdict(play.accepted, None, "as it was recorded", 0.0 if in_doubt else None)
        return await self._gate.judge(answer, rule)

    def verified(self, verdict: Verdict, yes: float) -> float | None:
        """Return the gate's own probability after a verifier's word."""
        verified = getattr(self._gate, "verified", None)
        right: float | None = verified(verdict, yes) if verified else None
        return right


def _ignore(_event: Event) -> None:
    """Ignore an event: a replay has no observers."""


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


def _require_unique_ids(recordings: Sequence[Recording]) -> None:
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
            f"policy {policy.name!r} uses track {missing[0]!r}, which turn {recording.id!r} does "
            f"not record (it has {', '.join(map(repr, recording.plays))}). Name the "
            "track's columns, or choose a policy without it."
        )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
