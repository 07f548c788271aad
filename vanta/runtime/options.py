"""What a caller chooses: the options of one turn, and parts of its own for isolated sessions.

Invariant: everything here is frozen, and None means "as the session, the template or the
configuration has it".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from vanta.errors import InvalidValue
from vanta.money import Caps
from vanta.normalising import check_deadline

if TYPE_CHECKING:
    from vanta.engine import Sampling, Tool
    from vanta.memory import Memory
    from vanta.scheduling.policy import Policy
    from vanta.scheduling.track_stats import TrackStats
    from vanta.storage import Store
    from vanta.tool_contract import Toolset
    from vanta.tools import ApprovalHandler, ApprovalMode, Permissions
    from vanta.track import Track


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """How one turn is answered.

    With neither `policy` nor `track`, the system prompt's template decides, then the configuration.

    :param policy: the name of a policy, or a policy.
    :param track: the name of one track that answers alone; takes precedence over `policy`.
    :param deadline_s: seconds that the whole turn may take.
    :param private: whether the turn is confined to private tracks.
    :param sampling: its set fields take precedence over the template's, and those over the track's.
    :param tools: names of the toolsets or tools that are offered; None for all that are on, an
        empty list for none.
    :param tool_choice: `auto`, `none`, `required` or the name of a tool: what the first round may
        or must call.
    :param parallel_tool_calls: whether one answer may have several calls. With False, an engine
        that supports it makes one; more calls of an answer are dropped.
    :param output: the type of the answer, or its JSON Schema; see `vanta.Session.ask`.
    :param approvals: what happens to calls that ask: `deny` denies them; `wait` waits for an answer
        from the handler, the stream or another process; `park` ends the turn with
        `ApprovalPending`, to be resumed later. None asks the handler and the stream.
    :param caps: caps on spending beside those of the configuration; the smaller one of each counts.
    :param replaces: the id of an earlier turn, or its beginning. The turn takes its place, on a
        branch of its own: its history ends before that turn.
    :raises InvalidValue: if the deadline is not a number of seconds above 0, or `approvals` is
        something else.
    """

    policy: str | Policy | None = None
    track: str | None = None
    deadline_s: float | None = None
    private: bool | None = None
    sampling: Sampling | None = None
    tools: Sequence[str] | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    approvals: ApprovalMode | None = None
    output: Any = None
    caps: Caps | None = None
    replaces: str | None = None

    def __post_init__(self) -> None:
        check_deadline(self.deadline_s)
        if self.approvals not in (None, "deny", "wait", "park"):
            known = "'deny', 'wait' or 'park'"
            raise InvalidValue(f"TurnOptions.approvals is {known}, not {self.approvals!r}")

    def over(self, base: TurnOptions | None) -> TurnOptions:
        """Return these options, with what they leave open taken from `base`.

        A `policy` or a `track` here replaces both of `base`.

        :param base: options that these take precedence over, or None.
        """
        if base is None:
            return self
        chosen = {name: value for name, value in _fields(self) if value is not None}
        if "policy" in chosen or "track" in chosen:
            chosen = {"policy": None, "track": None, **chosen}
        return dataclasses.replace(base, **chosen)


class TurnChoice(TypedDict, total=False):
    """The options of `vanta.Session.ask` and `vanta.Session.stream` beside `output`."""

    policy: str | Policy | None
    track: str | None
    deadline_s: float | None
    private: bool | None
    sampling: Sampling | None
    options: TurnOptions | None


class TranscriptChoice(TypedDict, total=False):
    """The options of `vanta.Runtime.complete` and `vanta.Runtime.stream` beside `output`."""

    tools: Iterable[Tool | str] | None
    tool_choice: str | None
    options: TurnOptions | None
    user: str
    session: str
    memory: bool
    store: bool


def _fields(options: TurnOptions) -> list[tuple[str, Any]]:
    return [(field.name, getattr(options, field.name)) for field in dataclasses.fields(TurnOptions)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedTools:
    """The tools of an isolated session.

    A call of the session's own toolsets obeys its own rules. A call of a shared toolset runs only
    if the runtime's rules allow it, too, and only the runtime's handler can approve it.

    :param permissions: the rules of the session.
    :param toolsets: its own toolsets by name; their owner closes them.
    :param shared: names of the runtime's toolsets that it uses, too.
    :param ask: answers for a person about calls of its own toolsets; None if no person is there.
    """

    permissions: Permissions
    toolsets: Mapping[str, Toolset] = field(default_factory=dict)
    shared: Sequence[str] = ()
    ask: ApprovalHandler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Parts that isolated sessions use instead of the runtime's own, for tests and scripts.

    :param tracks: tracks by name; they are added to the runtime's, and replace those of the same
        name.
    :param track_stats: what is learnt of the tracks; None for the runtime's own.
    :param store: where the conversation is kept; None for the runtime's own store and memory.
    :param memory: what is recalled; only used with `store`, where None means no memory.
    :param recall_timeout_s: seconds that a recall may take at least, whatever the configuration.
    :param tools: what it can call; None for the runtime's own tools.
    """

    tracks: Mapping[str, Track] = field(default_factory=dict)
    track_stats: TrackStats | None = None
    store: Store | None = None
    memory: Memory | None = None
    recall_timeout_s: float = 0.0
    tools: IsolatedTools | None = None


NOT_ISOLATED = Isolation()
