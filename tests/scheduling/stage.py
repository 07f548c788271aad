"""A stage for races: tracks with scripted engines, a race on them, and its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from vanta.engine import GenerationRequest, Sampling
from vanta.errors import EngineError
from vanta.events import Event, TextDelta
from vanta.messages import Message
from vanta.scheduling.policy import Policy
from vanta.scheduling.race import Race
from vanta.scheduling.race_plan import RaceOutcome, RacePlan, RaceSettings
from vanta.scheduling.track_stats import TrackStats
from vanta.testing import ScriptedEngine
from vanta.track import Price, Track

E = TypeVar("E", bound=Event)


class PlainPreparer:
    """Sends every track the same request; a takeover gets the shown text as a prefix or message."""

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        messages: tuple[Message, ...] = (Message("user", "?"),)
        can_continue = track.engine.capabilities.prefix_continuation
        if shown and not can_continue:
            messages += (Message("assistant", shown), Message("user", "go on"))
        return GenerationRequest(
            messages,
            sampling=Sampling(logprobs=0 if judged else None),
            prefix=shown if can_continue else "",
        )

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        raise refusal

    async def repair(
        self, track: Track, *, answer: str, why: str, judged: bool
    ) -> GenerationRequest:
        wrong = (Message("user", "?"), Message("assistant", answer), Message("user", why))
        return GenerationRequest(wrong, sampling=Sampling(logprobs=0 if judged else None))

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        sampling = Sampling(max_tokens=1, logprobs=5)
        return GenerationRequest((Message("user", f"is {answer} right?"),), sampling)


@dataclass
class Stage:
    """One race. Times are in seconds."""

    policy: Policy
    engines: Mapping[str, ScriptedEngine]
    deadline_s: float = 30.0
    stall_timeout_s: float = 30.0
    prices: Mapping[str, Price] = field(default_factory=dict)
    hard: bool | None = None
    retries: int = 0
    track_stats: TrackStats = field(default_factory=TrackStats)
    earliest_s: Mapping[str, float] = field(default_factory=dict)
    question: str = ""
    json_schema: Mapping[str, object] | None = None
    events: list[Event] = field(default_factory=list)
    race: Race | None = None

    async def run(self, *, late_s: float = 0.0) -> RaceOutcome:
        """Run the race as if its turn began `late_s` seconds ago."""
        plan = RacePlan(
            settings=RaceSettings(
                policy=self.policy,
                deadline_s=self.deadline_s,
                stall_timeout_s=self.stall_timeout_s,
                sampling=Sampling(json_schema=self.json_schema),
                retries=self.retries,
                hard=self.hard,
                track_stats=self.track_stats,
            ),
            tracks={
                name: Track(name, engine, price=self.prices.get(name, Price()))
                for name, engine in self.engines.items()
            },
            preparer=PlainPreparer(),
            started_at=anyio.current_time() - late_s,
            earliest_s=self.earliest_s,
            question=self.question,
        )
        self.race = Race(plan, self.events.append)
        return await self.race.run()

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[str]:
        """Return the types of all events except text, in order."""
        return [type(event).__name__ for event in self.events if not isinstance(event, TextDelta)]

    @property
    def text(self) -> str:
        """The text that the user saw."""
        return "".join(event.text for event in self.of(TextDelta))


def states(outcome: RaceOutcome) -> Sequence[tuple[str, str]]:
    """Return the track and state of each leg."""
    return [(leg.track.name, leg.state) for leg in outcome.legs]
