"""The schema of the configuration: every key, its type, its default and what it does.

Invariant: every field has a description, which `vanta config explain` prints. Values are not
converted: 60 is a number, "60" is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    field_validator,
    model_validator,
)

from vanta.engine import Sampling
from vanta.errors import ConfigError, UnknownName
from vanta.scheduling.policy import GateRule, Policy, TakeoverMode, adapt

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Tokens = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def default_data_dir() -> Path:
    """Return the default of `data_dir`: the platform's folder for user data."""
    return platformdirs.user_data_path("vanta", appauthor=False)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SamplingConfig(_Table):
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


class TrackConfig(_Table):
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


class GateConfig(_Table):
    """When a finished answer is good enough; unset fields keep the policy's values."""

    use: Text | None = Field(
        default=None, description="The gate that judges answers; vanta's own is `signals`."
    )
    min_mean_logprob: float | Literal["off"] | None = Field(
        default=None,
        description='The least mean logprob of an answer\'s tokens; "off" disables the check.',
    )
    min_probability: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="The least probability of a correct answer, for the gate `calibrated`.",
    )
    min_chars: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Answers with fewer characters are rejected."
    )
    refusals: bool | None = Field(
        default=None, description="True rejects answers that refuse to answer."
    )

    language: bool | None = Field(
        default=None,
        description="True rejects answers in another script than the question's.",
    )
    early_exit: bool | None = Field(
        default=None, description="True stops an answer as soon as it is certain to be rejected."
    )
    verify_with: Text | None = Field(
        default=None,
        description="A track that verifies a doubtful answer with one token.",
    )
    verify_share: Annotated[float, Field(ge=0, le=1)] | Literal["off"] | None = Field(
        default=None,
        description="The share of answers that are verified, those nearest to the limit; "
        '"off", or a verify_margin without it, selects by verify_margin alone.',
    )
    verify_margin: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="An answer is doubtful whose mean logprob is this near to the limit; with a "
        "verify_share only until 20 answers were judged.",
    )
    verify_limit: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="The least probability with which a verified answer is served. "
        "`vanta gate fit` suggests values for shares of escalations.",
    )

    def to_rule(self, base: GateRule) -> GateRule:
        """Apply the fields that are set to a rule.

        :param base: the rule of the policy.
        :returns: a changed copy of `base`.
        """
        changes = {key: value for key, value in self if value is not None}
        if self.verify_margin is not None and self.verify_share is None:
            changes["verify_share"] = None
        for key in ("min_mean_logprob", "verify_share"):
            if changes.get(key) == "off":
                changes[key] = None
        return dataclasses.replace(base, **changes)


class PolicyConfig(_Table):
    """A variant of a policy; unset fields keep the values of its base."""

    base: Text | None = Field(
        default=None,
        description="The policy that this one varies; unset: the policy of the same name.",
    )
    tracks: list[Text] | None = Field(
        default=None, description="The tracks of its legs, in order of preference."
    )
    delay_s: Seconds | None = Field(
        default=None, description="Seconds after which the delayed legs start."
    )
    hold_s: Seconds | None = Field(
        default=None, description="Seconds for which held-back legs cannot win the turn."
    )
    delay_quantile: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Learn the delay: this quantile of the first track's time to first token.",
    )
    max_extra_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="At most this share of turns starts the delayed legs by the clock.",
    )
    route_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="The share of messages that the router classifies as hard."
    )
    takeover: TakeoverMode | None = Field(
        default=None,
        description="When the winner breaks: `continue` or `restart` on another track, or `fail`.",
    )
    last_resort: bool | None = Field(
        default=None, description="True serves a rejected answer if no other track answered."
    )
    gate: GateConfig | None = Field(
        default=None, description="When a finished answer is good enough."
    )

    def to_policy(self, name: str, known: Mapping[str, Policy]) -> Policy:
        """Build the policy.

        :param name: its name, the table's name under `policies`.
        :param known: the policies that it may vary, by name.
        :returns: a changed copy of the base.
        :raises UnknownName: for a base that is not in `known`.
        :raises ConfigError: for a setting that has no effect in the base.
        """
        base = known.get(self.base or name)
        if base is None:
            raise UnknownName(
                "policy", self.base or name, known, hint=f"Set `base` under [policies.{name}]."
            )
        gate = self.gate.to_rule(base.gate or GateRule()) if self.gate else None
        try:
            return adapt(
                base,
                name=name,
                tracks=self.tracks,
                delay_s=self.delay_s,
                delay_quantile=self.delay_quantile,
                max_extra_share=self.max_extra_share,
                route_share=self.route_share,
                hold_s=self.hold_s,
                takeover=self.takeover,
                last_resort=self.last_resort,
                gate=gate,
            )
        except ConfigError as error:
            raise ConfigError(f"[policies.{name}]: {error}") from None


class PluginsConfig(_Table):
    """Which plugins are on."""

    allow: list[Text] = Field(
        default_factory=list,
        description="Third-party plugins to turn on, by name; see `vanta plugins list`.",
    )
    strict: bool = Field(
        default=False,
        description="True turns a failing plugin into an error instead of isolating it.",
    )


class PrivacyConfig(_Table):
    """What makes a turn private without an explicit request."""

    detect: list[Text] = Field(
        default_factory=list,
        description="Detectors that make a turn private by its message; see `vanta plugins list`.",
    )


class BreakerConfig(_Table):
    """When a failing track is paused."""

    failures: Annotated[int, Field(ge=1)] = Field(
        default=5, description="Consecutive failures after which a track is paused."
    )
    cooldown_s: Seconds = Field(
        default=10.0,
        description="Seconds until one turn tries it again; doubled with each failure.",
    )


class BudgetConfig(_Table):
    """Caps on spending.

    Under any cap, a paid reply without max_tokens has at most reply_reserve tokens, so that its
    cost is bounded.
    """

    turn_usd: Price | None = Field(
        default=None, description="US dollars that one turn may cost, all legs together."
    )
    session_usd: Price | None = Field(
        default=None, description="US dollars that one session may cost in total."
    )
    user_usd: Price | None = Field(
        default=None, description="US dollars that one user may cost, over all sessions and days."
    )
    day_usd: Price | None = Field(
        default=None, description="US dollars that all users together may cost in one UTC day."
    )
    unpriced: Literal["refuse", "ask", "free"] = Field(
        default="refuse",
        description="Under a cap, a model without a known price is refused, asked about, or free.",
    )


class MemoryConfig(_Table):
    """What is remembered from earlier turns and sessions, and how it is recalled."""

    enabled: bool = Field(
        default=True,
        description="True recalls relevant text of earlier turns and shows it to the tracks.",
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.25,
        description="The share of the prompt budget that memories may use; 0 shows none.",
    )
    min_relevance: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Only memories at least this relevant are shown; 0 shows all."
    )
    scope: Literal["user", "session"] = Field(
        default="user", description='Search all sessions of the "user", or only this "session".'
    )
    recall_timeout_s: Seconds = Field(
        default=0.2, description="Seconds after which a turn continues without memories."
    )
    embedder: Text = Field(
        default="auto",
        description='The embedder: a name, "auto" for the best one, "none" for lexical search.',
    )
    embedder_model: str = Field(default="", description="The embedder's model; empty: its default.")
    embedder_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the embedder; never an API key."
    )
    index: Text = Field(
        default="auto",
        description='The vector index: a name, "auto" for the best available, "none" for no index.',
    )
    index_options: dict[str, Any] = Field(default_factory=dict, description="Options of the index.")


class Config(_Table):
    """The whole configuration."""

    policy: Text = Field(default="race", description="When each track starts and what wins a turn.")
    deadline_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0, description="Seconds that a whole turn may take."
    )
    stall_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=15.0,
        description="Seconds of silence after which another track takes over a reply.",
    )
    retries: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Retries of a track in a turn that no other track can answer."
    )
    breaker: BreakerConfig = Field(
        default_factory=BreakerConfig, description="When a failing track is paused."
    )
    privacy: PrivacyConfig = Field(
        default_factory=PrivacyConfig, description="What makes a turn private."
    )
    companions: list[Text] = Field(
        default_factory=list,
        description="Background work to run, by name; see `vanta plugins list`.",
    )
    system: Text = Field(
        default="default", description="The system prompt: a template of the folder `system/`."
    )
    variables: dict[str, Any] = Field(
        default_factory=dict, description="Variables for the system prompt's template."
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        strict=False,
        description="The folder for everything that vanta writes: conversations, model files.",
    )
    store_url: Text | None = Field(
        default=None,
        description="The SQLAlchemy URL of the database; unset: SQLite in data_dir.",
    )
    telemetry: bool = Field(
        default=True,
        description="True reports turns, never their text, to OpenTelemetry if it is installed.",
    )
    plugins: PluginsConfig = Field(default=PluginsConfig(), description="Which plugins are on.")
    budget: BudgetConfig = Field(
        default=BudgetConfig(),
        description="Caps on spending; they bound paid replies by max_tokens or reply_reserve.",
    )
    memory: MemoryConfig = Field(
        default=MemoryConfig(), description="What is remembered, and how it is recalled."
    )
    tracks: dict[Name, TrackConfig] = Field(
        default_factory=dict, description="The tracks that can answer, by name."
    )
    policies: dict[Name, PolicyConfig] = Field(
        default_factory=dict, description="Variants of policies, by name."
    )

    @field_validator("data_dir")
    @classmethod
    def _stands_alone(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:
            raise ValueError(
                f"{str(value)!r} begins with a user that has no home folder: name another folder"
            ) from None
