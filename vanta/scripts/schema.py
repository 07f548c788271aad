"""The format's schema: what a script file may say, before it becomes a `Script`.

Invariant: strict (no unknown field, no conversion between types); whatever the text of a number or
a boolean could be taken for, it is what YAML or JSON says it is. The descriptions here are those of
the published JSON Schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, with_config

from vanta.engine import Sampling

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


def _by_name(value: Any) -> Any:
    return {"fault": value} if isinstance(value, str) else value


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


_Upstream = Annotated[
    UpstreamForm, BeforeValidator(_by_name, json_schema_input_type=FaultName | UpstreamForm)
]


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
    upstream: _Upstream | None = None
    """What the api track's server does on turns that do not say it. With it, or with a turn's own,
    a server in this process stands in for the real one."""
    matrix: MatrixForm = MatrixForm()
    """Run for every combination of these."""
    repeat: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often to run it, for what is not the same each time."""
    pass_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of the runs that has to pass."""
