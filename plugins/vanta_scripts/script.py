"""Scripts as data: the messages of a conversation, their tracks, and the expected replies.

Invariant: `vanta_scripts.format` is the only source of `Script` objects. Every value has the right
type, and the values under `expect` are what their checks accept.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vanta import Sampling, Tool

DEFAULT_TIME = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC).timestamp()
"""When a script without a time takes place: always the same Monday, in seconds since the epoch.
Dates are part of the prompt, so a moving date would change the replies."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A tool call that the stand-in server answers with.

    :param name: the tool's name.
    :param arguments: its arguments, JSON-ready.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """How the stand-in for the api track's server behaves in one turn.

    :param fault: one of `vanta_scripts.schema.FaultName`; "none" is a plain answer.
    :param after: number of tokens sent before the fault.
    :param text: the answer, or its beginning.
    :param first_after_s: seconds before the first token.
    :param gap_s: seconds between tokens.
    :param retry_after: value of the Retry-After header of a rate limit.
    :param call: a tool call to answer with instead of `text`.
    :param then: its behaviour at the next requests; the last one repeats.
    """

    fault: str = "none"
    after: int = 0
    text: str = "Hello from upstream."
    first_after_s: float = 0.0
    gap_s: float = 0.0
    retry_after: str | None = None
    call: PlannedCall | None = None
    then: tuple[UpstreamPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class ScriptedResult:
    """What a scripted tool returns for calls whose arguments have the values of `when`."""

    text: str
    error: bool = False
    private: bool = False
    when: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScriptedTool:
    """A tool with results.

    :param tool: the tool.
    :param results: for each call the next one that fits; the last of these repeats.
    """

    tool: Tool
    results: tuple[ScriptedResult, ...]


@dataclass(frozen=True, slots=True)
class PlannedApproval:
    """The answer to one question about a call.

    :param answer: "approve" or "deny".
    :param call: the tool, with its toolset or without; None for any.
    :param scope: for how long an approval counts.
    :param reason: why it is denied, for the model.
    """

    answer: str
    call: str | None = None
    scope: Literal["once", "session", "always"] = "once"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the server of the fixtures."""

    text: str
    type: str = "text/plain; charset=utf-8"
    status: int = 200
    location: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryFixture:
    """An item that memory holds before the first turn; `at` is in seconds since the epoch."""

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
    """A file that memory indexes before the first turn; `path` is relative to the script."""

    path: str
    user: str | None = None
    private: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fixtures:
    """What exists before the first turn. False if nothing does.

    :param memories: items of memory.
    :param documents: documents that memory indexes.
    :param files: path below the folder of the toolset `files` -> text.
    :param pages: path -> page of the server that `fetch` reaches.
    """

    memories: tuple[MemoryFixture, ...] = ()
    documents: tuple[DocumentFixture, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.need_memory or self.files or self.pages)

    @property
    def need_memory(self) -> bool:
        """Whether some of them are content of memory."""
        return bool(self.memories or self.documents)


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """One message and the expectations on its reply.

    :param say: the message.
    :param expect: expectation name -> checked value.
    :param policy: the policy of this turn. A turn with a policy or track ignores the script's.
    :param track: the only track of this turn.
    :param private: whether the turn stays on private tracks; None for the script's value.
    :param deadline_s: seconds for the whole turn; None for the script's value.
    :param user: the speaker; None for the script's user.
    :param session: another session of the script, by its local name; None for the main one.
    :param restart: whether the runtime is closed and reopened before the turn.
    :param at: the turn's time in seconds since the epoch; None for the time of the turn before.
    :param upstream: the stand-in server's behaviour; None for the script's value.
    :param approvals: the answers to the turn's questions about calls; empty for the script's.
    :param line: the turn's line in the file, from 1.
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
    approvals: tuple[PlannedApproval, ...] = ()
    line: int = 1


@dataclass(frozen=True, slots=True)
class Matrix:
    """The axes of a script's variants; an axis that is not used is None. See `variants`."""

    policy: tuple[str, ...] | None = None
    track: tuple[str, ...] | None = None
    system: tuple[str, ...] | None = None
    models: tuple[Mapping[str, str], ...] | None = None
    sampling: tuple[Sampling, ...] | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A scripted conversation.

    :param name: the script's name in reports.
    :param turns: the turns in order, at least one.
    :param description: the script's purpose.
    :param tags: words to select scripts by.
    :param policy: the policy of turns that do not choose; None for the configured one.
    :param track: the only track of turns that do not choose; goes before `policy`.
    :param models: track -> model, for tracks that run another model.
    :param system: a template under `system/`; None for the configured one.
    :param variables: variables of that template, before the configured ones.
    :param sampling: the sampling of every turn.
    :param seed: the base seed of repeated runs, see `repetition`.
    :param private: whether all turns stay on private tracks.
    :param deadline_s: seconds for each turn; None for the configured deadline.
    :param session: a stored session to continue; None for a new session in each run.
    :param user: the speaker of turns that do not name one.
    :param at: when the script takes place, in seconds since the epoch.
    :param fixtures: what exists before the first turn.
    :param tools: the tools offered to tracks whose calls are checked, never run.
    :param scripted: the tools whose calls return results of the script.
    :param toolsets: names of toolsets that are on.
    :param allow: rules for calls that run; `ask` and `deny` likewise.
    :param approvals: the answers to each turn's questions about calls.
    :param upstream: the stand-in server's behaviour in turns that do not choose.
    :param matrix: the axes of the script's variants.
    :param repeat: number of runs, from 1 to 1000.
    :param pass_rate: the share of runs that must pass, above 0 and at most 1.
    :param source: the file, for messages.
    :param variant: the matrix values of this variant, axis -> text.
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
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None
    private: bool = False
    deadline_s: float | None = None
    session: str | None = None
    user: str = "default"
    at: float = DEFAULT_TIME
    fixtures: Fixtures = Fixtures()
    tools: tuple[Tool, ...] = ()
    scripted: tuple[ScriptedTool, ...] = ()
    toolsets: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    approvals: tuple[PlannedApproval, ...] = ()
    upstream: UpstreamPlan | None = None
    matrix: Matrix = Matrix()
    repeat: int = 1
    pass_rate: float = 1.0
    source: str = "<text>"
    variant: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return the name, followed by the variant's values if there are any."""
        return titled(self.name, self.variant)

    @property
    def uses_stand_in(self) -> bool:
        """Return whether a server in this process stands in for the api track's server."""
        return self.upstream is not None or any(turn.upstream for turn in self.turns)

    @property
    def acts(self) -> bool:
        """Return whether calls of tools run."""
        return bool(self.toolsets or self.scripted)

    @property
    def restarts(self) -> bool:
        """Return whether a turn reopens the runtime."""
        return any(turn.restart for turn in self.turns)


def titled(name: str, variant: Mapping[str, str]) -> str:
    """Return the title of a variant, such as `greeting [policy=race]`."""
    values = ", ".join(f"{axis}={value}" for axis, value in variant.items())
    return f"{name} [{values}]" if values else name


def variants(script: Script) -> tuple[Script, ...]:
    """Return one script for each combination of the matrix of `script`.

    The last axis of the format varies fastest. A script without a matrix is its only variant.

    :param script: the script to expand.
    :returns: scripts without a matrix, each with its `variant`.
    """
    axes = list(_axes(script.matrix))
    return tuple(_variant(script, chosen) for chosen in itertools.product(*axes))


def repetition(script: Script, number: int) -> Script:
    """Return `script` for its run `number`, from 1: a script with a seed gets seed + number - 1."""
    if script.seed is None:
        return script
    seed = script.seed + number - 1
    return dataclasses.replace(script, sampling=dataclasses.replace(script.sampling, seed=seed))


def _axes(matrix: Matrix) -> Iterator[list[tuple[str, Any]]]:
    for axis in dataclasses.fields(Matrix):
        values = getattr(matrix, axis.name)
        if values is not None:
            yield [(axis.name, value) for value in values]


def _variant(script: Script, chosen: tuple[tuple[str, Any], ...]) -> Script:
    changes: dict[str, Any] = dict(chosen)
    if "policy" in changes:
        changes["track"] = None
    if "models" in changes:
        changes["models"] = {**script.models, **changes["models"]}
    if "sampling" in changes:
        changes["sampling"] = dataclasses.replace(
            script.sampling, **_changed_fields(changes["sampling"])
        )
    shown = {axis: _shown(value) for axis, value in chosen}
    return dataclasses.replace(script, **changes, matrix=Matrix(), variant=shown)


def _changed_fields(sampling: Sampling) -> dict[str, Any]:
    default = Sampling()
    return {
        field.name: getattr(sampling, field.name)
        for field in dataclasses.fields(Sampling)
        if getattr(sampling, field.name) != getattr(default, field.name)
    }


def _shown(value: Any) -> str:
    if isinstance(value, Sampling):
        changed = _changed_fields(value)
        return " ".join(f"{name}:{setting}" for name, setting in changed.items()) or "unchanged"
    if isinstance(value, Mapping):
        return " ".join(f"{track}:{model}" for track, model in value.items())
    return str(value)
