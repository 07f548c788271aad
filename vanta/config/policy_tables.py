"""The tables of policies and of their gates: variants of policies that exist.

Invariant: an unset field keeps the value of the base.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    Field,
)

from vanta.config.tables import Seconds, Table, Text
from vanta.errors import ConfigError, UnknownName
from vanta.scheduling.policy import GateRule, Policy, TakeoverMode, adapt


class GateConfig(Table):
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


class PolicyConfig(Table):
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
