"""The record of one tool call, and the digests that bind an approval to it.

Invariant: two calls have the same digest if the same tool, with the same description, schema and
effect, is called with the same arguments, and only then.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vanta.tool_contract import Effect, Tool

CallState = Literal[
    "requested",
    "approved",
    "started",
    "finished",
    "failed",
    "denied",
    "unknown",
    "resolved",
]
CallOutcome = Literal["done", "not done"]
"""What a person found out about an unknown call: it took effect, or it did not."""

EndState = Literal["finished", "failed", "denied", "unknown"]

FORGOTTEN = "its text was forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One tool call in the journal.

    :param turn: the turn's id.
    :param user: the user of the conversation.
    :param session: the session's id.
    :param call_id: the call's id in its turn, as the model gave it.
    :param toolset: name of the toolset.
    :param tool: the tool's own name.
    :param effect: what running the call twice would do.
    :param digest: see `digest_of`; "" once the text is forgotten.
    :param arguments: the arguments as canonical JSON; "" once the text is forgotten.
    :param private: whether the text of the call must not leave this machine.
    :param reason: the rule that allowed, held or denied the call.
    :param key: the call's key in the journal, and its idempotency key.
    :param state: the last step that was recorded.
    :param result: the result as JSON; "" if there is none, and once the text is forgotten.
    :param outcome: what a person found out about an unknown call; "" if nothing.
    :param attempts: how often the call was started; more than once only if it is repeatable.
    :param forgotten: whether its text was removed with the conversation.
    :param requested_at: seconds since the epoch; 0 before the call is in the journal.
    :param started_at: seconds since the epoch, of the last start; None before.
    :param ended_at: seconds since the epoch; None while it has no end.
    """

    turn: str
    user: str
    session: str
    call_id: str
    toolset: str
    tool: str
    effect: Effect
    digest: str
    arguments: str
    private: bool
    reason: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: CallState = "requested"
    result: str = ""
    outcome: str = ""
    attempts: int = 0
    forgotten: bool = False
    requested_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def name(self) -> str:
        """The tool's name with its toolset's, as rules name it."""
        return f"{self.toolset}.{self.tool}"

    @property
    def repeatable(self) -> bool:
        """Whether the call may run again with its key although an earlier start has no end."""
        return self.effect != "write"

    @property
    def note(self) -> str:
        """A sentence about what the state alone does not say; "" if there is none."""
        parts = [FORGOTTEN] if self.forgotten else []
        if self.state == "unknown":
            parts.append("its process ended while it ran, so that it may have taken effect or not")
        if self.state == "resolved":
            parts.append(f"a person found out that it was {self.outcome}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return asdict(self)


def tool_digest(toolset: str, tool: Tool) -> str:
    """Return the digest of what a tool claims to be: identity, description, schema and effect.

    :param toolset: name of the toolset.
    :param tool: the tool as the toolset lists it now.
    :returns: SHA-256 in hexadecimal; another one after any change that a person should see.
    """
    claims = [toolset, tool.name, tool.description, tool.parameters]
    return _sha256([*claims, tool.effect, tool.private])


def digest_of(toolset: str, tool: Tool, arguments_canonical: str) -> str:
    """Return the digest of a call, which an approval is bound to.

    :param toolset: name of the toolset.
    :param tool: the tool as the toolset lists it now.
    :param arguments_canonical: the arguments as canonical JSON.
    :returns: SHA-256 in hexadecimal of the tool's digest and the arguments.
    """
    return _sha256([tool_digest(toolset, tool), arguments_canonical])


def _sha256(parts: Sequence[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
