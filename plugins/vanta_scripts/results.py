"""What a run of scripts came to: a verdict for each turn, for each script, and for the process.

Invariant: results are frozen, JSON-ready by `to_dict`, and readable by `describe`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from vanta.errors import UsageError, VantaError
from vanta.events import Event, Reply
from vanta.expectations import Failure
from vanta.memory import MemoryItem
from vanta_scripts.expectations import excerpt
from vanta_scripts.model import titled


class ExitCode(IntEnum):
    """What `vanta run` tells the shell."""

    ALL_HOLD = 0
    SOME_FAILED = 1
    USAGE = 2
    COULD_NOT_RUN = 3


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A turn's verdict.

    number: from 1. failures: the expectations that did not hold. error: why there is no verdict on
    the reply, or no reply: what the turn, or a check, raised. line: where it stands in the script.
    events: what happened, without the text. judged_usd: what judging the reply cost. recalled: the
    memories that the track which answered was shown.
    """

    number: int
    say: str
    failures: tuple[Failure, ...] = ()
    error: str | None = None
    reply: Reply | None = None
    line: int = 1
    events: tuple[Event, ...] = ()
    judged_usd: float = 0.0
    recalled: tuple[MemoryItem, ...] = ()

    @property
    def cost_usd(self) -> float:
        """What the turn cost: all its legs, where there was a reply, and its judges."""
        return (self.reply.cost_usd if self.reply else 0.0) + self.judged_usd

    @property
    def passed(self) -> bool:
        """True if there was a reply (or the error that was expected) and every expectation held."""
        return self.error is None and not self.failures

    @property
    def note(self) -> str:
        """What a reader of a failure had better know of the reply, "" if nothing."""
        reason = self.reply.finish_reason if self.reply and not self.passed else None
        if self.reply and reason == "deadline":
            return f"the reply was cut when its {self.reply.trace.deadline_s:g} s were over"
        return "the reply was cut at the tokens that it may have" if reason == "length" else ""

    def describe(self) -> str:
        """The turn for a person: one line if it passed, what was said, expected and came if not."""
        head = f"turn {self.number} {'passed' if self.passed else 'FAILED'}: {excerpt(self.say)}"
        lines = [failure.describe() for failure in self.failures]
        if self.error is not None:
            lines.append(f"  error    {self.error}")
        lines += [f"  note     {self.note}"] if self.note else []
        return "\n".join([head, *lines])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "turn": self.number,
            "line": self.line,
            "say": self.say,
            "passed": self.passed,
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
            "error": self.error,
            "note": self.note,
            "cost_usd": self.cost_usd,
            "recalled": [_told(item) for item in self.recalled],
            "reply": self.reply.to_dict() if self.reply else None,
        }


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """The verdict on one run of a script.

    session: where the conversation is stored. duration_s: of all turns. variant: what the script's
    matrix chose. number: which of its runs, from 1. stopped: why it was not run to its end.
    """

    name: str
    source: str
    session: str
    duration_s: float
    turns: tuple[TurnResult, ...]
    variant: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    number: int = 1
    stopped: str = ""

    @property
    def title(self) -> str:
        """The name, with the variant's values where there are any."""
        return titled(self.name, self.variant)

    @property
    def passed(self) -> bool:
        """True if every turn was run and passed."""
        return not self.stopped and all(turn.passed for turn in self.turns)

    @property
    def cost_usd(self) -> float:
        """What the replies cost, losing legs included, and judging them."""
        return sum(turn.cost_usd for turn in self.turns)

    def describe(self) -> str:
        """The script for a person: its verdict, and every turn that failed."""
        passed = sum(turn.passed for turn in self.turns)
        verdict = "passed" if self.passed else "FAILED"
        why = f"; stopped: {self.stopped}" if self.stopped else ""
        head = f"{self.title} {verdict}: {passed} of {len(self.turns)} turns ({self.source}){why}"
        failed = [
            f"{self.source}:{turn.line}: {turn.describe()}"
            for turn in self.turns
            if not turn.passed
        ]
        return "\n".join([head, *failed])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "name": self.name,
            "title": self.title,
            "variant": dict(self.variant),
            "tags": list(self.tags),
            "number": self.number,
            "stopped": self.stopped,
            "source": self.source,
            "session": self.session,
            "passed": self.passed,
            "duration_s": self.duration_s,
            "cost_usd": self.cost_usd,
            "turns": [turn.to_dict() for turn in self.turns],
        }


def _told(item: MemoryItem) -> dict[str, Any]:
    return {"id": item.id, "from": item.source or item.role or item.kind, "text": item.text}


def exit_code(results: Iterable[ScriptResult]) -> ExitCode:
    """ALL_HOLD only if every turn of every script passed; without any script, COULD_NOT_RUN."""
    verdicts = [result.passed for result in results]
    if not verdicts:
        return ExitCode.COULD_NOT_RUN
    return ExitCode.ALL_HOLD if all(verdicts) else ExitCode.SOME_FAILED


def exit_code_of(error: VantaError) -> ExitCode:
    """For an error that kept scripts from running: USAGE if a person has to change something."""
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.COULD_NOT_RUN
