"""The base of all tables of the configuration, and the tables of tracks.

Invariant: values are not converted: 60 is a number, "60" is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    model_validator,
)

from vanta.engine import Sampling

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Tokens = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Table(BaseModel):
    """A table of the configuration: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ToolsConfig(Table):
    """Which tools models may call, and what a person is asked about."""

    use: list[Text] = Field(
        default_factory=list, description="Toolsets to turn on, by name; see `vanta tools list`."
    )
    mode: Literal["ask", "allow", "deny", "read"] = Field(
        default="ask",
        description='What happens to calls that no rule names; "read" runs those that only read.',
    )
    allow: list[Text] = Field(
        default_factory=list,
        description="Calls that run without a question: `NAME`, `SET.*`, `files.write(docs/**)`.",
    )
    deny: list[Text] = Field(
        default_factory=list, description="Calls that never run; deny beats every other rule."
    )
    ask: list[Text] = Field(
        default_factory=list, description="Calls that a person is asked about, each time."
    )
    untrusted: Literal["ask", "allow"] = Field(
        default="allow",
        description='"ask": after a result that others wrote, allowed calls that write ask, too.',
    )
    max_rounds: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Rounds that one turn may have; the last one has no tools."
    )
    max_calls: Annotated[int, Field(ge=1)] = Field(
        default=32, description="Tool calls that one turn may have, all rounds together."
    )
    max_result_tokens: Annotated[int, Field(ge=64)] = Field(
        default=2048, description="Tokens of one result that are shown at once; the rest in pages."
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.25,
        description="Share of a prompt for schemas of tools; of more, the message's are chosen.",
    )
    max_schema_tokens: Annotated[int, Field(ge=0)] = Field(
        default=8192, description="Tokens that these schemas take at most, whatever the window is."
    )
    approvals_expire_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=604_800.0,
        description="Seconds that a turn waits in the store for a person; then it is dropped.",
    )
    rounds: Literal["same", "race"] = Field(
        default="same",
        description='After tool results the "same" track continues, or all "race" again.',
    )
    options: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="Options of each toolset; never an API key."
    )


class SamplingConfig(Table):
    """A track's sampling defaults; the fields are those of `vanta.Sampling`."""

    max_tokens: Tokens | None = Field(default=None, description="At most this many output tokens.")
    temperature: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, description="0 always takes the most likely token; higher values vary more."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Sample among the most likely tokens that together have this probability.",
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Sample among this many most likely tokens; 0 samples among all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Exclude tokens less likely than this share of the most likely token.",
    )
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Below 1, sample among the tokens closest to the expected surprise.",
    )
    repeat_penalty: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Above 1, tokens that were already used become less likely."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="Above 0, every token that occurred becomes less likely."
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="Above 0, a token becomes less likely with each occurrence."
    )
    dry_multiplier: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Above 0, tokens that would continue a repetition become less likely.",
    )
    seed: int | None = Field(
        default=None, description="The same seed gives the same answer, if the engine supports it."
    )
    stop: tuple[Text, ...] = Field(
        default=(), strict=False, description="Texts that end the answer; they are not part of it."
    )
    logit_bias: Mapping[Annotated[int, Strict(False)], float] = Field(
        default_factory=dict, strict=False, description="Token id to the number added to its logit."
    )
    grammar: str | None = Field(
        default=None, description="A GBNF grammar that the answer must follow."
    )
    json_schema: Mapping[str, Any] | None = Field(
        default=None, description="A JSON Schema under which the answer must be valid JSON."
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None,
        description="Number of top alternatives to report for each token, with their logprobs.",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> SamplingConfig:
        self.to_sampling()
        return self

    def to_sampling(self) -> Sampling:
        """Convert to the sampling that engines take.

        :returns: a `Sampling` with the same values.
        """
        return Sampling(**{name: getattr(self, name) for name in type(self).model_fields})


class TrackConfig(Table):
    """One track: an engine, a model, and its limits."""

    enabled: bool = Field(default=True, description="False keeps the track from ever starting.")
    engine: Text = Field(description="The engine that answers; see `vanta engines list`.")
    model: Text = Field(description="The model, by the name that the engine uses.")
    window: Tokens | None = Field(
        default=None,
        description="Tokens of prompt and reply together; unset: the engine's own value.",
    )
    reply_reserve: Tokens = Field(
        default=512, description="Tokens of the window reserved for the reply."
    )
    private: bool = Field(
        default=False,
        description="True if its text stays on this machine; private turns need that.",
    )
    input_usd_per_mtok: Price | None = Field(
        default=None,
        description="US dollars for a million input tokens; unset: from vanta's price list.",
    )
    output_usd_per_mtok: Price | None = Field(
        default=None,
        description="US dollars for a million output tokens; unset: from vanta's price list.",
    )
    sampling: SamplingConfig = Field(
        default=SamplingConfig(),
        description="Sampling defaults; the arguments of a call override them.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the engine; never an API key."
    )

    @model_validator(mode="after")
    def _leaves_room_for_a_prompt(self) -> TrackConfig:
        if self.window is not None and self.reply_reserve >= self.window:
            raise ValueError(
                f"reply_reserve ({self.reply_reserve} tokens) leaves no room for a prompt in the "
                f"window ({self.window} tokens): reduce it"
            )
        return self
