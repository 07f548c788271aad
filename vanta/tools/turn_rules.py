"""What the calls of a turn obey: its rules, its clock, and the person who is asked.

Without a handler, what would be asked is denied. Invariant: an answer counts for the call that was
asked and, if it says so, for later calls of the same tool; never for another tool, and never for
the same tool with another schema.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from vanta.errors import InvalidValue
from vanta.tools.permissions.permissions import Permissions

ApprovalScope = Literal["once", "session", "always"]
"""For how long an approval counts: this call, this session, or until it is revoked."""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A call that waits for a person.

    :param key: the call's key in the journal.
    :param turn: the turn's id.
    :param user: the user of the conversation.
    :param session: the session's id.
    :param toolset: the name of the toolset.
    :param tool: the name of the tool.
    :param description: what the tool does, in its own words.
    :param arguments: the arguments, valid under the tool's schema.
    :param effect: what running it twice would do.
    :param why: the rule because of which a person is asked.
    :param question: the question to answer in words, if the call is one; "" if it is not.
    :param choices: the answers that the question proposes; none for any answer.
    """

    key: str
    turn: str
    user: str
    session: str
    toolset: str
    tool: str
    description: str
    arguments: Mapping[str, Any]
    effect: str
    why: str
    question: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """The answer of a person.

    :param approved: whether the call may run, or whether a question is answered.
    :param scope: for how long an approval counts.
    :param reason: why it was denied, for the model; "" for no reason.
    :param answer: the answer to a question, in words.
    :raises InvalidValue: if a value is of another kind.
    """

    approved: bool
    scope: ApprovalScope = "once"
    reason: str = ""
    answer: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.approved, bool):
            raise InvalidValue(f"Approval.approved is True or False, not {self.approved!r}")
        if self.scope not in get_args(ApprovalScope):
            scopes = ", ".join(map(repr, get_args(ApprovalScope)))
            raise InvalidValue(f"Approval.scope is one of {scopes}, not {self.scope!r}")
        for name, text in (("reason", self.reason), ("answer", self.answer)):
            if not isinstance(text, str):
                raise InvalidValue(f"Approval.{name} is a text, not {text!r}")


ApprovalHandler = Callable[[ApprovalRequest], Awaitable[Approval | bool | str]]
"""Asks a person and returns the answer; True approves once, a text answers a question. It may take
as long as it needs: the turn's deadline stands still. An exception denies the call."""


class TurnClock(Protocol):
    """The clock of a turn, which stands still while a person is asked."""

    def now(self) -> float:
        """Return the seconds since the turn began."""
        ...

    @property
    def ends_at(self) -> float:
        """The turn's deadline, in seconds on the event loop's clock."""
        ...

    def pause(self, seconds: float) -> None:
        """Move the deadline by the time that a person took."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose calls these are: the user, the session and the turn."""

    user: str
    session: str
    turn: str


@dataclass(frozen=True, slots=True)
class ToolRules:
    """What a turn's calls have to obey.

    :param permissions: which calls run, are asked or are denied.
    :param ask: asks a person; None denies what would be asked.
    :param max_calls: calls of the whole turn.
    :param max_result_tokens: tokens of one result that the model is shown at once.
    :param count: estimates the tokens of a text.
    """

    permissions: Permissions
    ask: ApprovalHandler | None
    max_calls: int
    max_result_tokens: int
    count: Callable[[str], int]
