"""The tables of turns, messages, removals, tool calls and approvals, and the schema's version.

These are the tables of a new database. A change here needs a revision in
`vanta.storage.migrations`, which brings it to older databases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

SCHEMA_VERSION = 5

metadata = sa.MetaData()
about = sa.Table("about", metadata, sa.Column("schema_version", sa.Integer, nullable=False))
"""The schema's version, in its only row."""

alembic_version = sa.Table(
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""The revision of that version, where Alembic keeps it. `about` is what counts."""

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("track", sa.String(200)),
    sa.Column("cost_usd", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("trace", sa.JSON, nullable=False),
    sa.Index("turns_of_session", "user", "session", "finished_at"),
)
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("turn_id", sa.String(32), sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("calls", sa.JSON(none_as_null=True)),
    sa.Column("call_id", sa.String(200)),
    sa.Column("branch", sa.String(200), nullable=False, server_default="main"),
    sa.Column("replaced", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("images", sa.JSON(none_as_null=True)),
    sa.Index("messages_of_session", "user", "session", "id"),
)
"""The messages of sessions. `replaced`: another alternative of their turn counts. `images`: data
URLs, each with the number of characters of the content that follow it."""

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("user", sa.String(200), primary_key=True),
    sa.Column("session", sa.String(200), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("settings", sa.JSON(none_as_null=True)),
    sa.Column("branch", sa.String(200), nullable=False),
)
"""What a session has beyond its messages: a title, settings, the branch in use. Only such sessions
have a row."""

branches = sa.Table(
    "branches",
    metadata,
    sa.Column("user", sa.String(200), primary_key=True),
    sa.Column("session", sa.String(200), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("parent", sa.String(200), nullable=False),
    sa.Column("base", sa.Integer, nullable=False),
    sa.Column("replaces", sa.String(32), nullable=False),
    sa.Column("group_branch", sa.String(200), nullable=False),
    sa.Column("group_first", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
"""The branches of sessions except the main ones; see `vanta.storage.branches`. `base` is the last
message that a branch shares with its parent."""

removals = sa.Table(
    "removals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("forgotten", sa.Boolean, nullable=False),
    sa.Index("removals_of_user", "user", "id"),
    sa.Index("removals_for_good", "forgotten", "id"),
)
"""A row for each time that text of a user was removed; `forgotten`: for good, from caches too."""

private_sessions = sa.Table(
    "private_sessions",
    metadata,
    sa.Column("user", sa.String(200), primary_key=True),
    sa.Column("session", sa.String(200), primary_key=True),
)
"""The sessions whose turns are private unless they say otherwise."""

tool_calls = sa.Table(
    "tool_calls",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("turn", sa.String(200), nullable=False),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("toolset", sa.String(200), nullable=False),
    sa.Column("tool", sa.String(200), nullable=False),
    sa.Column("effect", sa.String(12), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("forgotten", sa.Boolean, nullable=False),
    sa.Column("requested_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("claim", sa.String(32), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.String(60), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Index("tool_calls_of_session", "user", "session", "requested_at"),
    sa.Index("tool_calls_of_turn", "turn"),
    sa.Index("tool_calls_by_state", "state"),
)
"""The journal of tool calls. `claim` names one start of a call; host and process hold it."""

tool_approvals = sa.Table(
    "tool_approvals",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("toolset", sa.String(200), nullable=False),
    sa.Column("tool", sa.String(200), nullable=False),
    sa.Column("tool_digest", sa.String(64), nullable=False),
    sa.Column("pattern", sa.Text, nullable=False),
    sa.Column("approved_at", sa.Float, nullable=False),
    sa.Index("tool_approvals_of_user", "user", "toolset", "tool"),
)
"""What a person approved for a session, or, with an empty one, until it is revoked."""

parked_turns = sa.Table(
    "parked_turns",
    metadata,
    sa.Column("turn", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("parked_at", sa.Float, nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.String(60), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Index("parked_turns_of_session", "user", "session"),
)
"""The turns that wait for a person; host and process hold one while they wait or resume it."""

parked_calls = sa.Table(
    "parked_calls",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("turn", sa.String(32), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("toolset", sa.String(200), nullable=False),
    sa.Column("tool", sa.String(200), nullable=False),
    sa.Column("effect", sa.String(12), nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("is_question", sa.Boolean, nullable=False),
    sa.Column("answer", sa.String(12), nullable=False),
    sa.Column("scope", sa.String(12), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Float),
    sa.Index("parked_calls_of_turn", "turn", "place"),
)
"""The calls of parked turns about which a person is asked, and what was answered so far."""


@dataclass(frozen=True, slots=True)
class Removals:
    """The latest removals of text: numbers that only grow.

    :param last: the latest one of the user's text.
    :param last_forgotten: the latest one of any user's text that was for good.
    """

    last: int = 0
    last_forgotten: int = 0


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a turn has to know of the store before it begins.

    :param private: whether the session's turns are private unless they say otherwise.
    :param removals: the latest removals.
    :param settings: what is kept for its turns, as JSON-ready data; None if nothing is.
    """

    private: bool
    removals: Removals
    settings: Mapping[str, Any] | None = None
