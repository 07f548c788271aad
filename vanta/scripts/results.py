"""What a run of scripts came to: a verdict for each turn, for each script, and for the process.

Invariant: results are frozen, JSON-ready by `to_dict`, and readable by `describe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from vanta.errors import UsageError, VantaError
from vanta.events import Reply
from vanta.scripts.expectations import Failure, excerpt


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
    """

    number: int
    say: str
    failures: tuple[Failure, ...] = ()
    error: str | None = None
    reply: Reply | None = None
    line: int = 1

    @property
    def passed(self) -> bool:
        """True if there was a reply and every expectation held."""
        return self.error is None and not self.failures

    def describe(self) -> str:
        """The turn for a person: one line if it passed, what was said, expected and came if not."""
        head = f"turn {self.number} {'passed' if self.passed else 'FAILED'}: {excerpt(self.say)}"
        lines = [f"  expected {f.expected}\n  came     {f.came}" for f in self.failures]
        if self.error is not None:
            lines.append(f"  error    {self.error}")
        return "\n".join([head, *lines])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "turn": self.number,
            "line": self.line,
            "say": self.say,
            "passed": self.passed,
            "failures": [
                {"expectation": f.expectation, "expected": f.expected, "came": f.came}
                for f in self.failures
            ],
            "error": self.error,
            "reply": self.reply.to_dict() if self.reply else None,
        }


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """A script's verdict. session: where the conversation is stored; duration_s: of all turns."""

    name: str
    source: str
    session: str
    duration_s: float
    turns: tuple[TurnResult, ...]

    @property
    def passed(self) -> bool:
        """True if every turn passed."""
        return all(turn.passed for turn in self.turns)

    @property
    def cost_usd(self) -> float:
        """What the replies cost, losing legs included."""
        return sum(turn.reply.cost_usd for turn in self.turns if turn.reply)

    def describe(self) -> str:
        """The script for a person: its verdict, and every turn that failed."""
        passed = sum(turn.passed for turn in self.turns)
        verdict = "passed" if self.passed else "FAILED"
        head = f"{self.name} {verdict}: {passed} of {len(self.turns)} turns ({self.source})"
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
            "source": self.source,
            "session": self.session,
            "passed": self.passed,
            "duration_s": self.duration_s,
            "cost_usd": self.cost_usd,
            "turns": [turn.to_dict() for turn in self.turns],
        }


def exit_code(results: Iterable[ScriptResult]) -> ExitCode:
    """ALL_HOLD only if every turn of every script passed; without any script, COULD_NOT_RUN."""
    verdicts = [result.passed for result in results]
    if not verdicts:
        return ExitCode.COULD_NOT_RUN
    return ExitCode.ALL_HOLD if all(verdicts) else ExitCode.SOME_FAILED


def exit_code_of(error: VantaError) -> ExitCode:
    """For an error that kept scripts from running: USAGE if a person has to change something."""
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.COULD_NOT_RUN
