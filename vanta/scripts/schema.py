"""The format's schema: what a script file may say, before it becomes a `Script`.

Invariant: strict (no unknown field, no conversion between types); whatever the text of a number or
a boolean could be taken for, it is what YAML or JSON says it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, with_config

from vanta.engine import Sampling

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
_Text = Annotated[str, Field(min_length=1)]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SamplingForm(Sampling):
    """`sampling`: the fields of `vanta.engine.Sampling`, and no others."""


class TurnForm(BaseModel):
    """One of `turns`. The values under `expect` are checked by the expectations themselves."""

    model_config = _STRICT

    say: _Text
    expect: Annotated[dict[str, Any], Field(min_length=1)] = {}
    policy: _Text | None = None
    track: _Text | None = None
    private: bool | None = None


class ScriptForm(BaseModel):
    """A script file."""

    model_config = _STRICT

    name: _Text
    turns: Annotated[list[TurnForm], Field(min_length=1)]
    description: str = ""
    policy: _Text | None = None
    track: _Text | None = None
    system: _Text | None = None
    variables: dict[str, Any] = {}
    sampling: SamplingForm = SamplingForm()
    private: bool = False
    session: _Text | None = None
    user: _Text = "default"
