"""The format's schema: what a script file may say, before it becomes a `Script`.

Invariant: strict (no unknown field, no conversion between types); whatever the text of a number or
a boolean could be taken for, it is what YAML or JSON says it is. The descriptions here are those of
the published JSON Schema.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, with_config

from vanta.engine import Sampling
from vanta_scripts.model import USUAL_TIME

_STRICT = ConfigDict(
    extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
_Text = Annotated[str, Field(min_length=1)]
_Seconds = Annotated[float, Field(ge=0)]

FaultName = Literal[
    "none", "refuse", "unauthorized", "not_found", "rate_limited", "server_error", "overloaded",
    "context_overflow", "stall", "cut", "malformed", "error_frame",
]  # fmt: skip
AFTER_TOKENS = ("stall", "cut", "malformed", "error_frame")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SamplingForm(Sampling):
    """How to sample: the fields of `vanta.engine.Sampling`, and no others."""


def _by(field: str, short: Any, form: Any) -> BeforeValidator:
    """One text, of type `short`, stands for a `form` of which it is that field."""

    def whole(value: Any) -> Any:
        return {field: value} if isinstance(value, str) else value

    return BeforeValidator(whole, json_schema_input_type=short | form)


def _moment(value: Any) -> Any:
    """`2026-03-02` or `2026-03-02T14:30`, in UTC where it says nothing else, as seconds since the
    epoch."""
    try:
        at = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{value!r} is no time. Write it like '2026-03-02' or '2026-03-02T14:30'"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


_Moment = Annotated[float, BeforeValidator(_moment, json_schema_input_type=str)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class CallForm(BaseModel):
    """A call of a tool."""

    model_config = _STRICT

    name: _Text
    """The tool."""
    arguments: dict[str, Any] = {}
    """What it is called with."""


Call = Annotated[CallForm, _by("name", _Text, CallForm)]


class UpstreamForm(BaseModel):
    """What the stand-in for the api track's server does; a single word is its fault."""

    model_config = _STRICT

    fault: FaultName = "none"
    """What goes wrong; `none` is a plain answer."""
    after: Annotated[int, Field(ge=0)] = 0
    """Tokens that are sent before a stall, a cut, a malformed or an error frame."""
    text: _Text = "Hello from upstream."
    """What it answers, or begins to."""
    first_after_s: _Seconds = 0.0
    """Seconds before the first token."""
    gap_s: _Seconds = 0.0
    """Seconds between tokens."""
    retry_after: _Text | None = None
    """The header of that name, where it is rate limited."""
    call: Call | None = None
    """A tool that it asks for, in the place of the text; a single word is its name."""


_Upstream = Annotated[UpstreamForm, _by("fault", FaultName, UpstreamForm)]


class MemoryForm(BaseModel):
    """Something that memory knows before the first turn; a single text is a fact."""

    model_config = _STRICT

    text: _Text
    """What it says."""
    id: _Text | None = None
    """A name of your choice, for `recalled`."""
    role: Literal["user", "assistant"] | None = None
    """Who said it, for what was said; unset: it is a fact."""
    user: _Text | None = None
    """Whose memory; unset: that of the script's user."""
    session: _Text | None = None
    """The conversation of this script that it is from, by its name; unset: one that is over."""
    at: _Moment | None = None
    """When it was said, like `2026-03-02` or `2026-03-02T14:30`; unset: when the script begins."""
    private: bool = False
    """Whether only private tracks may see it."""
    source: str = ""
    """Where it is from, as it is shown to a track."""
    tags: list[_Text] = []
    """Words to find it by."""


class DocumentForm(BaseModel):
    """A document that memory knows before the first turn; a single text is its path."""

    model_config = _STRICT

    path: _Text
    """The file, seen from the script's folder."""
    user: _Text | None = None
    """Whose memory; unset: that of the script's user."""
    private: bool = False
    """Whether only private tracks may see it."""
    tags: list[_Text] = []
    """Words to find it by."""


class FixturesForm(BaseModel):
    """What is there before the first turn."""

    model_config = _STRICT

    memories: list[Annotated[MemoryForm, _by("text", _Text, MemoryForm)]] = []
    """Facts, and what was said before."""
    documents: list[Annotated[DocumentForm, _by("path", _Text, DocumentForm)]] = []
    """Files that memory takes in."""


class ToolForm(BaseModel):
    """A tool that tracks are offered; a single word is its name."""

    model_config = _STRICT

    name: _Name
    """Letters, digits, `_` and `-`."""
    description: str = ""
    """What it does, for the model."""
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    """A JSON Schema of its arguments."""


class TurnForm(BaseModel):
    """One of `turns`. The values under `expect` are checked by the expectations themselves."""

    model_config = _STRICT

    say: _Text
    """The message."""
    expect: Annotated[dict[str, Any], Field(min_length=1)] = {}
    """What has to hold of the reply; all of it has to."""
    policy: _Text | None = None
    """A policy for this turn; then the script's own policy and track do not count."""
    track: _Text | None = None
    """One track alone for this turn."""
    private: bool | None = None
    """Whether the turn stays on private tracks; unset: as the script says."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds for the whole turn."""
    user: _Text | None = None
    """Who speaks; unset: the script's user."""
    session: _Text | None = None
    """Another conversation of this script, by a name of your choice; unset: the main one."""
    restart: bool = False
    """Whether the runtime is closed and opened again before this turn."""
    at: _Moment | None = None
    """When it is said, like `2026-03-02` or `2026-03-02T14:30`; unset: when the last one was."""
    upstream: _Upstream | None = None
    """What the api track's server does on this turn."""


class MatrixForm(BaseModel):
    """Axes: the script is run for every combination of one value from each."""

    model_config = _STRICT

    policy: Annotated[list[_Text], Field(min_length=1)] | None = None
    track: Annotated[list[_Text], Field(min_length=1)] | None = None
    system: Annotated[list[_Text], Field(min_length=1)] | None = None
    models: (
        Annotated[list[Annotated[dict[str, _Text], Field(min_length=1)]], Field(min_length=1)]
        | None
    ) = None
    sampling: Annotated[list[SamplingForm], Field(min_length=1)] | None = None


class ScriptForm(BaseModel):
    """A scripted conversation: what is said, to whom, and what is expected of the replies."""

    model_config = _STRICT

    name: _Text
    """What the script is called in reports."""
    turns: Annotated[list[TurnForm], Field(min_length=1)]
    """What is said, in order."""
    description: str = ""
    """What it is for."""
    tags: list[_Text] = []
    """Words to select scripts by: `vanta run --tag smoke`."""
    policy: _Text | None = None
    """The policy of every turn; unset: the configured one."""
    track: _Text | None = None
    """One track alone instead of a policy."""
    models: dict[str, _Text] = {}
    """Other models for tracks: track name to model."""
    system: _Text | None = None
    """The template of the system prompt, of the folder `system/`."""
    variables: dict[str, Any] = {}
    """Variables for that template."""
    sampling: SamplingForm = SamplingForm()
    """How to sample, on every track."""
    seed: int | None = None
    """The seed of every turn's sampling; run number n of a repeated script takes seed + n - 1."""
    private: bool = False
    """Whether all turns stay on private tracks."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds for each turn."""
    session: _Text | None = None
    """A conversation to go on with; unset: a fresh one each run."""
    user: _Text = "default"
    """Who speaks."""
    at: _Moment | None = None
    """When it takes place, like `2026-03-02` or `2026-03-02T14:30`, in UTC; unset: when its first
    turn does, else always on the same Monday, so that it says the same every day."""
    fixtures: FixturesForm = FixturesForm()
    """Memories and documents that are there before the first turn."""
    tools: list[Annotated[ToolForm, _by("name", _Name, ToolForm)]] = []
    """Tools that tracks may ask for on every turn; what they ask for is checked and never run."""
    upstream: _Upstream | None = None
    """What the api track's server does on turns that do not say it. With it, or with a turn's own,
    a server in this process stands in for the real one."""
    matrix: MatrixForm = MatrixForm()
    """Run for every combination of these."""
    repeat: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often to run it, for what is not the same each time."""
    pass_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of the runs that has to pass."""

    @property
    def begins_at(self) -> float:
        """When it takes place, in seconds since the epoch."""
        told = (self.at, self.turns[0].at)
        return next((at for at in told if at is not None), USUAL_TIME)
