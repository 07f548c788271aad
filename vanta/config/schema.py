"""The schema of the configuration: every key, its type, its default and what it does.

Invariant: every field has a description, which `vanta config explain` prints. Values are not
converted: 60 is a number, "60" is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    Field,
    field_validator,
)

from vanta.config.mcp_tables import McpConfig
from vanta.config.policy_tables import PolicyConfig
from vanta.config.tables import (
    Name,
    Price,
    Seconds,
    Table,
    Text,
    ToolsConfig,
    TrackConfig,
)


def default_data_dir() -> Path:
    """Return the default of `data_dir`: the platform's folder for user data."""
    return platformdirs.user_data_path("vanta", appauthor=False)


class PluginsConfig(Table):
    """Which plugins are on."""

    allow: list[Text] = Field(
        default_factory=list,
        description="Third-party plugins to turn on, by name; see `vanta plugins list`.",
    )
    strict: bool = Field(
        default=False,
        description="True turns a failing plugin into an error instead of isolating it.",
    )


class PrivacyConfig(Table):
    """What makes a turn private without an explicit request."""

    detect: list[Text] = Field(
        default_factory=list,
        description="Detectors that make a turn private by its message; see `vanta plugins list`.",
    )


class BreakerConfig(Table):
    """When a failing track is paused."""

    failures: Annotated[int, Field(ge=1)] = Field(
        default=5, description="Consecutive failures after which a track is paused."
    )
    cooldown_s: Seconds = Field(
        default=10.0,
        description="Seconds until one turn tries it again; doubled with each failure.",
    )


class BudgetConfig(Table):
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


class MemoryConfig(Table):
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


class Config(Table):
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
    tools: ToolsConfig = Field(
        default=ToolsConfig(), description="Which tools models may call, and what asks a person."
    )
    mcp: McpConfig = Field(
        default=McpConfig(), description="MCP servers, whose tools models may call."
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
