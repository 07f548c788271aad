"""The script format: the fields of a script file, and their JSON Schema for editors.

Invariant: strict. Unknown fields are errors, and a value keeps the type that YAML or JSON gives
it. The published JSON Schema is generated from the same forms, so the two cannot differ.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, with_config

from vanta import Expectation, Sampling
from vanta_scripts.checks import BUILTIN
from vanta_scripts.script import DEFAULT_TIME

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
    """How to sample: the fields of `vanta.Sampling`."""


def _short_for(field: str, short: Any, form: Any) -> BeforeValidator:
    """Accept a plain text of type `short` as a `form` with only `field` set."""

    def expand(value: Any) -> Any:
        return {field: value} if isinstance(value, str) else value

    return BeforeValidator(expand, json_schema_input_type=short | form)


def _parse_moment(value: Any) -> Any:
    """Return `2026-03-02` or `2026-03-02T14:30` (UTC by default) in seconds since the epoch."""
    try:
        at = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{value!r} is not a time. Write it like '2026-03-02' or '2026-03-02T14:30'"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


_Moment = Annotated[float, BeforeValidator(_parse_moment, json_schema_input_type=str)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class CallForm(BaseModel):
    """A tool call."""

    model_config = _STRICT

    name: _Text
    """The tool's name."""
    arguments: dict[str, Any] = {}
    """The call's arguments."""


_Call = Annotated[CallForm, _short_for("name", _Text, CallForm)]


class UpstreamForm(BaseModel):
    """How the stand-in for the api track's server behaves; a single word is its fault."""

    model_config = _STRICT

    fault: FaultName = "none"
    """The fault to inject; `none` is a plain answer."""
    after: Annotated[int, Field(ge=0)] = 0
    """Tokens sent before a stall, a cut, a malformed frame or an error frame."""
    text: _Text = "Hello from upstream."
    """The answer, or its beginning."""
    first_after_s: _Seconds = 0.0
    """Seconds before the first token."""
    gap_s: _Seconds = 0.0
    """Seconds between tokens."""
    retry_after: _Text | None = None
    """The Retry-After header of a rate limit."""
    call: _Call | None = None
    """A tool call to answer with instead of the text; a single word is the tool's name."""
    then: list[Annotated[UpstreamForm, _short_for("fault", FaultName, Any)]] = []
    """How it behaves at the turn's next requests, one entry each; the last one repeats. Unset: as
    before, and a plain answer after a call."""


_Upstream = Annotated[UpstreamForm, _short_for("fault", FaultName, UpstreamForm)]


class MemoryForm(BaseModel):
    """An item that memory holds before the first turn; a single text is a fact."""

    model_config = _STRICT

    text: _Text
    """The item's text."""
    id: _Text | None = None
    """A name of your choice, for `recalled`."""
    role: Literal["user", "assistant"] | None = None
    """The speaker of a message; unset: the item is a fact."""
    user: _Text | None = None
    """The owner of the item; unset: the script's user."""
    session: _Text | None = None
    """The session of this script that the item comes from, by name; unset: an earlier one."""
    at: _Moment | None = None
    """The item's time, like `2026-03-02` or `2026-03-02T14:30`; unset: the script's time."""
    private: bool = False
    """Whether only private tracks may see the item."""
    source: str = ""
    """The item's origin, as shown to tracks."""
    tags: list[_Text] = []
    """Words to find the item by."""


class DocumentForm(BaseModel):
    """A document that memory holds before the first turn; a single text is its path."""

    model_config = _STRICT

    path: _Text
    """The file, relative to the script's folder."""
    user: _Text | None = None
    """The owner of the document; unset: the script's user."""
    private: bool = False
    """Whether only private tracks may see the document."""
    tags: list[_Text] = []
    """Words to find the document by."""


class PageForm(BaseModel):
    """A page of the server of the fixtures; a single text is its content."""

    model_config = _STRICT

    text: str
    """The content."""
    type: _Text = "text/plain; charset=utf-8"
    """The content type."""
    status: Annotated[int, Field(ge=200, le=599)] = 200
    """The HTTP status."""
    location: _Text | None = None
    """The target of a redirect."""


class FixturesForm(BaseModel):
    """What exists before the first turn: in memory, in the toolset `files`, and on the web."""

    model_config = _STRICT

    memories: list[Annotated[MemoryForm, _short_for("text", _Text, MemoryForm)]] = []
    """Facts, and messages of earlier sessions."""
    documents: list[Annotated[DocumentForm, _short_for("path", _Text, DocumentForm)]] = []
    """Files that memory indexes."""
    files: dict[str, str] = {}
    """The files of the toolset `files`: a path below its folder, and the text."""
    pages: dict[str, Annotated[PageForm, _short_for("text", str, PageForm)]] = {}
    """The pages of a server in this process, by their paths (`/prices`); `fetch` reaches nothing
    else. `{pages}` in messages, answers and results stands for its address."""


class ResultForm(BaseModel):
    """What a scripted tool returns; a single text is the result's text."""

    model_config = _STRICT

    text: str
    """What the model reads."""
    error: bool = False
    """Whether the call failed."""
    private: bool = False
    """Whether the result must not leave this machine."""
    when: dict[str, Any] = {}
    """Arguments that a call must have for this result."""


_Result = Annotated[ResultForm, _short_for("text", _Text, ResultForm)]


class ApprovalForm(BaseModel):
    """The answer to one question about a call; a single word is the answer."""

    model_config = _STRICT

    answer: Literal["approve", "deny"]
    """Whether the call may run."""
    call: _Text | None = None
    """The tool that it is about (`send`, `files.write`); unset: any."""
    scope: Literal["once", "session", "always"] = "once"
    """For how long the approval counts."""
    reason: str = ""
    """Why it is denied, for the model."""


_Approvals = list[Annotated[ApprovalForm, _short_for("answer", _Text, ApprovalForm)]]


class ToolForm(BaseModel):
    """A tool that is offered to tracks; a single word is its name.

    Its calls are checked and never run, unless it has `results`: then it is a fixture, which rules
    and reports call `fixture.NAME`.
    """

    model_config = _STRICT

    name: _Name
    """Letters, digits, `_` and `-`."""
    description: str = ""
    """The tool's purpose, for the model."""
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    """A JSON Schema of its arguments."""
    results: list[_Result] = []
    """What its calls return: for each call the next result whose `when` fits; the last one of these
    repeats."""
    effect: Literal["read", "idempotent", "write"] = "write"
    """What running a call twice would do."""
    private: bool = False
    """Whether it claims to stay on this machine."""
    untrusted: bool = False
    """Whether its results count as written by others."""


class TurnForm(BaseModel):
    """An entry of `turns`. Each expectation validates its own value under `expect`."""

    model_config = _STRICT

    say: _Text
    """The message."""
    expect: Annotated[dict[str, Any], Field(min_length=1)] = {}
    """Expectations on the reply; all of them must hold."""
    policy: _Text | None = None
    """The policy of this turn; the script's own policy and track are then ignored."""
    track: _Text | None = None
    """The only track of this turn."""
    private: bool | None = None
    """Whether the turn stays on private tracks; unset: the script's value."""
    deadline_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Seconds for the whole turn."""
    user: _Text | None = None
    """The speaker; unset: the script's user."""
    session: _Text | None = None
    """Another session of this script, by a name of your choice; unset: the main one."""
    restart: bool = False
    """Whether the runtime is closed and reopened before this turn."""
    at: _Moment | None = None
    """The turn's time, like `2026-03-02` or `2026-03-02T14:30`; unset: that of the turn before."""
    upstream: _Upstream | None = None
    """How the api track's server behaves in this turn."""
    approvals: _Approvals = []
    """The answers to this turn's questions about calls, in order; unset: those of the script."""


class MatrixForm(BaseModel):
    """Axes of variants: the script runs for every combination of one value from each."""

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
    """A scripted conversation: its messages, its tracks, and the expected replies."""

    model_config = _STRICT

    name: _Text
    """The script's name in reports."""
    turns: Annotated[list[TurnForm], Field(min_length=1)]
    """The turns, in order."""
    description: str = ""
    """The script's purpose."""
    tags: list[_Text] = []
    """Words to select scripts by: `vanta run --tag smoke`."""
    policy: _Text | None = None
    """The policy of every turn; unset: the configured one."""
    track: _Text | None = None
    """A single track instead of a policy."""
    models: dict[str, _Text] = {}
    """Other models for tracks: track name to model."""
    system: _Text | None = None
    """The template of the system prompt, from the folder `system/`."""
    variables: dict[str, Any] = {}
    """Variables of that template."""
    sampling: SamplingForm = SamplingForm()
    """How to sample, on every track."""
    seed: int | None = None
    """The seed of every turn's sampling; run number n of a repeated script uses seed + n - 1."""
    private: bool = False
    """Whether all turns stay on private tracks."""
    deadline_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Seconds for each turn."""
    session: _Text | None = None
    """A stored session to continue; unset: a new session in each run."""
    user: _Text = "default"
    """The speaker."""
    at: _Moment | None = None
    """The script's time, like `2026-03-02` or `2026-03-02T14:30`, in UTC; unset: the time of its
    first turn, or the same Monday in every run, so that replies do not depend on the date."""
    fixtures: FixturesForm = FixturesForm()
    """What exists before the first turn."""
    tools: list[Annotated[ToolForm, _short_for("name", _Name, ToolForm)]] = []
    """Tools offered to tracks in every turn. Calls of those with `results` run."""
    toolsets: list[_Name] = []
    """Toolsets that are on. `calculator`, `clock`, `files`, `memory` and, with pages, `fetch` are
    the script's own; any other must be on in your configuration, whose rules count as well."""
    allow: list[_Text] = []
    """Rules for calls that run: `fixture.send`, `files.write(notes/**)`."""
    ask: list[_Text] = []
    """Rules for calls that need an approval each time."""
    deny: list[_Text] = []
    """Rules for calls that are refused."""
    approvals: _Approvals = []
    """The answers to each turn's questions about calls, in order. What is not answered is denied.
    They count for the script's own tools only."""
    upstream: _Upstream | None = None
    """How the api track's server behaves in turns that do not choose. A script that sets it, here
    or in a turn, replaces the real server by a stand-in inside this process."""
    matrix: MatrixForm = MatrixForm()
    """Run the script for every combination of these values."""
    repeat: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of runs, for replies that vary."""
    pass_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of runs that must pass."""

    @property
    def begins_at(self) -> float:
        """Return the time of the script in seconds since the epoch."""
        choices = (self.at, self.turns[0].at)
        return next((at for at in choices if at is not None), DEFAULT_TIME)


def script_schema(expectations: Mapping[str, Expectation] = BUILTIN) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a script file, for editors.

    :param expectations: the expectations allowed under `expect`, see `known_expectations`.
    """
    schema = ScriptForm.model_json_schema()
    definitions = schema["$defs"]
    expect = {
        name: _expectation_schema(expectation, definitions)
        for name, expectation in expectations.items()
    }
    definitions["TurnForm"]["properties"]["expect"] |= {
        "properties": expect,
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "vanta script",
    }


def _expectation_schema(expectation: Expectation, definitions: dict[str, Any]) -> dict[str, Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(expectation.value)
    schema = adapter.json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return {**schema, "description": expectation.summary}
