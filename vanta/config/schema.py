"""The schema of the configuration: every key, its type, its default and what it does.

Invariant: a description here is what `vanta config explain` prints, so every field has one; a
value is taken as it is written (60 is a number, "60" is none).
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
    """Where vanta keeps what it writes unless it is told otherwise."""
    return platformdirs.user_data_path("vanta", appauthor=False)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SamplingConfig(_Table):
    """How a track samples where a call does not say; the fields of `vanta.engine.Sampling`."""

    max_tokens: Tokens | None = Field(default=None, description="Output tokens at the most.")
    temperature: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="0 always takes the likeliest token; higher is more varied."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Sample among the likeliest tokens that together have this probability.",
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Sample among this many of the likeliest tokens; 0: among all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Leave out tokens less likely than this share of the likeliest one.",
    )
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Below 1, sample among tokens about as surprising as is usual at this place.",
    )
    repeat_penalty: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Above 1, tokens that were used already become less likely."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="Above 0, a token that occurred at all becomes less likely."
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="Above 0, a token becomes less likely with each time it occurred."
    )
    dry_multiplier: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Above 0, a token that would go on with a repetition becomes less likely.",
    )
    seed: int | None = Field(
        default=None, description="The same seed gives the same answer, where it can."
    )
    stop: tuple[Text, ...] = Field(
        default=(), strict=False, description="Texts that end the answer and are no part of it."
    )
    logit_bias: Mapping[Annotated[int, Strict(False)], float] = Field(
        default_factory=dict, strict=False, description="Token id to what is added to its logit."
    )
    grammar: str | None = Field(
        default=None, description="A GBNF grammar that the answer must follow."
    )
    json_schema: Mapping[str, Any] | None = Field(
        default=None, description="A JSON Schema under which the answer must be valid JSON."
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None,
        description="How many rivals to report beside each token, with their logprobs.",
    )

    def to_sampling(self) -> Sampling:
        """The same as what engines take."""
        return Sampling(**{name: getattr(self, name) for name in type(self).model_fields})


class TrackConfig(_Table):
    """One track: an engine, a model, and its limits."""

    enabled: bool = Field(default=True, description="A track that is not enabled is never started.")
    engine: Text = Field(description="The engine that answers; see `vanta engines list`.")
    model: Text = Field(description="The model, by the name that the engine knows it by.")
    window: Tokens | None = Field(
        default=None,
        description="Tokens of prompt and reply together; unset: what the engine says.",
    )
    reply_reserve: Tokens = Field(
        default=512, description="Tokens of the window that the prompt leaves free for the reply."
    )
    private: bool = Field(
        default=False,
        description="True: what is said here stays on this machine; private turns need it.",
    )
    input_usd_per_mtok: Price | None = Field(
        default=None,
        description="US dollars for a million tokens read; unset: what vanta's price list says.",
    )
    output_usd_per_mtok: Price | None = Field(
        default=None,
        description="US dollars for a million tokens written; unset: what the price list says.",
    )
    sampling: SamplingConfig = Field(
        default=SamplingConfig(), description="How to sample where a call does not say."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What the engine alone understands; never an API key."
    )

    @model_validator(mode="after")
    def _leaves_room_for_a_prompt(self) -> TrackConfig:
        if self.window is not None and self.reply_reserve >= self.window:
            raise ValueError(
                f"reply_reserve ({self.reply_reserve} tokens) leaves no room for a prompt in the "
                f"window ({self.window} tokens): make it smaller"
            )
        return self


class GateConfig(_Table):
    """When a finished answer is good enough; what is not set stays as the policy has it."""

    use: Text | None = Field(
        default=None, description="The gate that judges; vanta's own is `signals`."
    )
    min_mean_logprob: float | Literal["off"] | None = Field(
        default=None,
        description='The least mean logprob of an answer\'s tokens; "off": not looked at.',
    )
    min_probability: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="The least probability of being right, for the gate `calibrated`.",
    )
    min_chars: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Answers with fewer characters are turned down."
    )
    refusals: bool | None = Field(
        default=None, description="True turns down answers that decline to answer."
    )

    language: bool | None = Field(
        default=None,
        description="True turns down answers in another script than the question's.",
    )
    early_exit: bool | None = Field(
        default=None, description="True stops an answer that is already sure to be turned down."
    )
    verify_with: Text | None = Field(
        default=None,
        description="A track that is asked for one token on an answer that is in doubt.",
    )
    verify_margin: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="How near to its limit a mean logprob puts the answer in doubt."
    )

    def to_rule(self, base: GateRule) -> GateRule:
        """`base` with what is set here."""
        told = {key: value for key, value in self if value is not None}
        if told.get("min_mean_logprob") == "off":
            told["min_mean_logprob"] = None
        return dataclasses.replace(base, **told)


class PolicyConfig(_Table):
    """A variant of a policy; what is not set stays as its base has it."""

    base: Text | None = Field(
        default=None,
        description="The policy that this one varies; unset: the policy of the same name.",
    )
    tracks: list[Text] | None = Field(
        default=None, description="The tracks that play its legs, in its order of preference."
    )
    delay_s: Seconds | None = Field(
        default=None, description="Seconds after which legs start that start after a delay."
    )
    hold_s: Seconds | None = Field(
        default=None, description="Seconds before which held-back legs may not win the turn."
    )
    delay_quantile: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Learn the delay: this quantile of how long the first track is silent.",
    )
    max_extra_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="The share of turns in which delayed legs may start by the clock."
    )
    route_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="The share of messages that the router shall call hard."
    )
    takeover: TakeoverMode | None = Field(
        default=None,
        description="When the winner breaks: another track may `continue` or `restart`, or `fail`.",
    )
    last_resort: bool | None = Field(
        default=None, description="True serves a turned-down answer if nothing else answered."
    )
    gate: GateConfig | None = Field(
        default=None, description="When a finished answer is good enough."
    )

    def to_policy(self, name: str, known: Mapping[str, Policy]) -> Policy:
        """The policy `name` as told here, out of the `known` ones.

        Raises UnknownName for a base that is not known, ConfigError for a setting without effect.
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
        description="True makes a plugin that fails an error instead of leaving it out.",
    )


class PrivacyConfig(_Table):
    """What makes a turn private without being told."""

    detect: list[Text] = Field(
        default_factory=list,
        description="Detectors that make a turn private by its message; see `vanta plugins list`.",
    )


class BreakerConfig(_Table):
    """When a failing track is left alone."""

    failures: Annotated[int, Field(ge=1)] = Field(
        default=5, description="Failures in a row after which a track is left alone."
    )
    cooldown_s: Seconds = Field(
        default=10.0, description="Seconds before one turn tries it again; doubled at each failure."
    )


class BudgetConfig(_Table):
    """Caps on what may be spent.

    Under any of them a paid reply without max_tokens has at most reply_reserve tokens, so that its
    cost has an upper end.
    """

    turn_usd: Price | None = Field(
        default=None, description="US dollars that one turn may cost, all its legs together."
    )
    session_usd: Price | None = Field(
        default=None, description="US dollars that one session may cost in all."
    )
    user_usd: Price | None = Field(
        default=None, description="US dollars that one user may cost in all sessions and days."
    )
    day_usd: Price | None = Field(
        default=None, description="US dollars that all users together may cost in a day (UTC)."
    )


class MemoryConfig(_Table):
    """What is remembered from earlier turns and sessions, and how it is found."""

    enabled: bool = Field(
        default=True,
        description="True finds what earlier turns said and shows it to the tracks where it helps.",
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.25,
        description="The share of a prompt's room that memories may take; 0: none are shown.",
    )
    scope: Literal["user", "session"] = Field(
        default="user",
        description='Where to look: in all sessions of the "user", or in this "session" alone.',
    )
    recall_timeout_s: Seconds = Field(
        default=0.2, description="Seconds after which a turn goes on without its memories."
    )
    embedder: Text = Field(
        default="auto",
        description='What finds by meaning: a name, "auto" for the best at hand, "none" for words.',
    )
    embedder_model: str = Field(
        default="", description="The embedder's model; empty: its usual one."
    )
    embedder_options: dict[str, Any] = Field(
        default_factory=dict, description="What the embedder alone understands; never an API key."
    )
    index: Text = Field(
        default="auto",
        description='The vector index: a name, "auto" for the best at hand, "none" for no index.',
    )
    index_options: dict[str, Any] = Field(
        default_factory=dict, description="What the index alone understands."
    )


class Config(_Table):
    """All that vanta can be told."""

    policy: Text = Field(default="race", description="When each track starts and what wins a turn.")
    deadline_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0, description="Seconds that a whole turn may take."
    )
    stall_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=15.0,
        description="Seconds without a word after which another track goes on with a reply.",
    )
    retries: Annotated[int, Field(ge=0)] = Field(
        default=1, description="How often a track is asked again in a turn that has no other way."
    )
    breaker: BreakerConfig = Field(
        default_factory=BreakerConfig, description="When a failing track is left alone."
    )
    privacy: PrivacyConfig = Field(
        default_factory=PrivacyConfig, description="What makes a turn private without being told."
    )
    companions: list[Text] = Field(
        default_factory=list,
        description="What works in the background, by name; see `vanta plugins list`.",
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
        description="The folder for all that vanta writes: conversations, model files.",
    )
    store_url: Text | None = Field(
        default=None,
        description="The SQLAlchemy URL that conversations are kept at; unset: SQLite in data_dir.",
    )
    telemetry: bool = Field(
        default=True,
        description="True tells OpenTelemetry of every turn, never its text, where installed.",
    )
    plugins: PluginsConfig = Field(default=PluginsConfig(), description="Which plugins are on.")
    budget: BudgetConfig = Field(
        default=BudgetConfig(),
        description="Caps on spending; under one, max_tokens or reply_reserve bounds paid replies.",
    )
    memory: MemoryConfig = Field(
        default=MemoryConfig(), description="What is remembered, and how it is found."
    )
    tracks: dict[Name, TrackConfig] = Field(
        default_factory=dict, description="The places in the race, by name."
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
            raise ValueError(f"{str(value)!r} begins with a user that has no home folder") from None
