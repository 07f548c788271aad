"""A script, as data: what is said, on which track, and what is expected of the replies.

Invariant: a `Script` came through `vanta_scripts.format`, so its values are of the right types and
the values of expectations are what their checks take.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vanta.engine import Sampling, Tool

USUAL_TIME = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC).timestamp()
"""When a script takes place that does not say it: a Monday. Always the same, since the days on
which things were said are part of what a model reads."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """What the stand-in for the api track's server does with one turn's requests.

    fault: one of `vanta_scripts.schema.FaultName`. after: tokens sent before it. text: what it
    answers, or begins to. first_after_s, gap_s: before the first token, and between tokens.
    retry_after: that header, where it is rate limited. call: what it asks for instead of saying
    `text`.
    """

    fault: str = "none"
    after: int = 0
    text: str = "Hello from upstream."
    first_after_s: float = 0.0
    gap_s: float = 0.0
    retry_after: str | None = None
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class MemoryFixture:
    """Something that memory knows before the first turn; the fields are those of a script's
    `fixtures`, at: seconds since the epoch."""

    text: str
    id: str | None = None
    role: str | None = None
    user: str | None = None
    session: str | None = None
    at: float | None = None
    private: bool = False
    source: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentFixture:
    """A file that memory takes in before the first turn; path: from the script's folder."""

    path: str
    user: str | None = None
    private: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fixtures:
    """What is there before the first turn."""

    memories: tuple[MemoryFixture, ...] = ()
    documents: tuple[DocumentFixture, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.memories or self.documents)


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """One message and what is expected of its reply.

    policy, track: for this turn; with either given, the script's own two do not count. private,
    deadline_s, user, upstream: None for the script's own. session: another conversation of the
    script, by its own name. restart: open the runtime anew before. at: when it is said, in seconds
    since the epoch; None: when the last one was. line: where it stands.
    """

    say: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    policy: str | None = None
    track: str | None = None
    private: bool | None = None
    deadline_s: float | None = None
    user: str | None = None
    session: str | None = None
    restart: bool = False
    at: float | None = None
    upstream: UpstreamPlan | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Matrix:
    """Axes of variants; None where there is none. See `vanta_scripts.variants`."""

    policy: tuple[str, ...] | None = None
    track: tuple[str, ...] | None = None
    system: tuple[str, ...] | None = None
    models: tuple[Mapping[str, str], ...] | None = None
    sampling: tuple[Sampling, ...] | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A scripted conversation.

    models: track -> model, for tracks that are to have another. system: a template under `system/`
    that goes before the configured one; variables: for it. session: its name; None for a fresh one
    each run. at: when it takes place, in seconds since the epoch. tools: what tracks may ask for;
    nothing is run. repeat, pass_rate: how many runs, and which share of them has to pass. source:
    the file, for messages. variant: what the matrix chose for this one, axis -> value as text.
    """

    name: str
    turns: tuple[ScriptTurn, ...]
    description: str = ""
    tags: tuple[str, ...] = ()
    policy: str | None = None
    track: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    sampling: Sampling = Sampling()
    seed: int | None = None
    private: bool = False
    deadline_s: float | None = None
    session: str | None = None
    user: str = "default"
    at: float = USUAL_TIME
    fixtures: Fixtures = Fixtures()
    tools: tuple[Tool, ...] = ()
    upstream: UpstreamPlan | None = None
    matrix: Matrix = Matrix()
    repeat: int = 1
    pass_rate: float = 1.0
    source: str = "<text>"
    variant: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, with the variant's values where there are any."""
        return titled(self.name, self.variant)

    @property
    def stands_in(self) -> bool:
        """Whether a server in this process stands in for the api track's."""
        return self.upstream is not None or any(turn.upstream for turn in self.turns)

    @property
    def restarts(self) -> bool:
        """Whether a turn wants the runtime to be opened anew."""
        return any(turn.restart for turn in self.turns)


def titled(name: str, variant: Mapping[str, str]) -> str:
    """The name of a variant of a script."""
    chosen = ", ".join(f"{axis}={value}" for axis, value in variant.items())
    return f"{name} [{chosen}]" if chosen else name
