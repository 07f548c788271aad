"""Results of scripts: of a turn, of a run, of a script with all its runs, and of a whole suite.

Invariant: results are frozen and JSON-ready by `to_dict`. Every other form of a report (JUnit,
HTML, a comparison) is made from `RunReport.to_dict()`, so a saved report serves as well as a fresh
one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vanta import Event, Failure, Reply, TurnFailed
from vanta.memory import MemoryItem
from vanta_scripts.checks.calls import SeenCall, calls_of
from vanta_scripts.checks.values import excerpt
from vanta_scripts.reports.figures import figures
from vanta_scripts.script import Script, titled


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The result of one turn.

    :param number: the turn's position in the script, from 1.
    :param say: the message.
    :param failures: the expectations that did not hold.
    :param error: the error that the turn or a check raised, or None.
    :param reply: the reply, or None if the turn raised an error.
    :param line: the turn's line in the script.
    :param events: the turn's events, without text deltas.
    :param judged_usd: cost of judging the reply, in USD.
    :param recalled: the memories shown to the track that answered.
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
        """Return the cost of all legs and judges of the turn."""
        return (self.reply.cost_usd if self.reply else 0.0) + self.judged_usd

    @property
    def passed(self) -> bool:
        """Return whether the turn had a reply, or the expected error, and all expectations held."""
        return self.error is None and not self.failures

    @property
    def calls(self) -> tuple[SeenCall, ...]:
        """Return the calls of the turn, also of one that failed."""
        ends = [event.trace for event in self.events if isinstance(event, TurnFailed)]
        trace = self.reply.trace if self.reply else next(iter(ends), None)
        asked = self.reply.tool_calls if self.reply else ()
        return calls_of(self.events, trace.calls if trace else (), asked)

    @property
    def note(self) -> str:
        """Return a hint at the cause of a failure: a reply that was cut. "" without a hint."""
        reason = self.reply.finish_reason if self.reply and not self.passed else None
        if self.reply and reason == "deadline":
            return f"the reply was cut at the deadline of {self.reply.trace.deadline_s:g} s"
        return "the reply was cut at its token limit" if reason == "length" else ""

    def describe(self) -> str:
        """Return the turn in one line; a failed turn has a line for each problem below."""
        head = f"turn {self.number} {'passed' if self.passed else 'FAILED'}: {excerpt(self.say)}"
        lines = [failure.describe() for failure in self.failures]
        if self.error is not None:
            lines.append(f"  error    {self.error}")
        lines += [f"  note     {self.note}"] if self.note else []
        lines += [f"  call     {call.describe()}" for call in self.calls if not self.passed]
        return "\n".join([head, *lines])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "turn": self.number,
            "line": self.line,
            "say": self.say,
            "passed": self.passed,
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
            "error": self.error,
            "note": self.note,
            "cost_usd": self.cost_usd,
            "recalled": [_memory_data(item) for item in self.recalled],
            "calls": [call.to_dict() for call in self.calls],
            "reply": self.reply.to_dict() if self.reply else None,
        }


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """The result of one run of a script.

    :param name: the script's name.
    :param source: the script's file.
    :param session: the session that holds the conversation.
    :param duration_s: seconds for all turns.
    :param turns: the results of the turns that ran.
    :param variant: the matrix values of the variant, axis -> text.
    :param tags: the script's tags.
    :param number: which of the script's runs this is, from 1.
    :param stopped: why the run ended early, or "".
    :param warnings: what the script plans for its calls and no turn used, as sentences. They do
        not change the verdict; empty for a run that ended early.
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
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Return the name, followed by the variant's values if there are any."""
        return titled(self.name, self.variant)

    @property
    def passed(self) -> bool:
        """Return whether every turn ran and passed."""
        return not self.stopped and all(turn.passed for turn in self.turns)

    @property
    def cost_usd(self) -> float:
        """Return the cost of all legs and judges of the run."""
        return sum(turn.cost_usd for turn in self.turns)

    def describe(self) -> str:
        """Return the run in one line, followed by every turn that failed."""
        passed = sum(turn.passed for turn in self.turns)
        verdict = "passed" if self.passed else "FAILED"
        why = f"; stopped: {self.stopped}" if self.stopped else ""
        head = f"{self.title} {verdict}: {passed} of {len(self.turns)} turns ({self.source}){why}"
        failed = [
            f"{self.source}:{turn.line}: {turn.describe()}"
            for turn in self.turns
            if not turn.passed
        ]
        warnings = [f"  warning  {self.source}: {warning}" for warning in self.warnings]
        return "\n".join([head, *failed, *warnings])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "name": self.name,
            "title": self.title,
            "variant": dict(self.variant),
            "tags": list(self.tags),
            "number": self.number,
            "stopped": self.stopped,
            "warnings": list(self.warnings),
            "source": self.source,
            "session": self.session,
            "passed": self.passed,
            "duration_s": self.duration_s,
            "cost_usd": self.cost_usd,
            "turns": [turn.to_dict() for turn in self.turns],
        }


@dataclass(frozen=True, slots=True)
class ScriptOutcome:
    """All runs of one script, or of one of its variants.

    :param script: the script.
    :param runs: the runs so far.
    :param planned: how many runs there should be.
    """

    script: Script
    runs: tuple[ScriptResult, ...]
    planned: int

    @property
    def passed_runs(self) -> int:
        """Return how many runs passed."""
        return sum(run.passed for run in self.runs)

    @property
    def complete(self) -> bool:
        """Return whether every planned run reached its end."""
        return len(self.runs) == self.planned and not any(run.stopped for run in self.runs)

    @property
    def passed(self) -> bool:
        """Return whether the outcome is complete and enough of its runs passed."""
        return self.complete and self.passed_runs >= self.script.pass_rate * self.planned - 1e-9

    @property
    def failed(self) -> bool:
        """Return whether the script can no longer pass; an incomplete one may be undecided."""
        broken = sum(any(not turn.passed for turn in run.turns) for run in self.runs)
        allowed = self.planned * (1 - self.script.pass_rate) + 1e-9
        return (self.complete and not self.passed) or broken > allowed or self._could_not_begin

    @property
    def _could_not_begin(self) -> bool:
        return any(run.stopped and not run.turns for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, without the runs."""
        return {
            "title": self.script.title,
            "source": self.script.source,
            "passed": self.passed,
            "runs": len(self.runs),
            "planned": self.planned,
            "passed_runs": self.passed_runs,
            "pass_rate": self.script.pass_rate,
        }


@dataclass(frozen=True, slots=True)
class RunReport:
    """The outcomes of a suite, in the order of its scripts.

    :param outcomes: one per script.
    :param duration_s: seconds for the whole suite.
    :param stopped: why the suite ended early, or "".
    """

    outcomes: tuple[ScriptOutcome, ...]
    duration_s: float
    stopped: str = ""

    @property
    def results(self) -> list[ScriptResult]:
        """Return every run of every script."""
        return [run for outcome in self.outcomes for run in outcome.runs]

    @property
    def passed(self) -> bool:
        """Return whether every script ran and passed. False for an empty suite."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def verdict(self) -> Literal["passed", "failed", "incomplete"]:
        """Return the verdict; a failure outweighs a script that did not run to its end."""
        if self.passed:
            return "passed"
        return "failed" if any(outcome.failed for outcome in self.outcomes) else "incomplete"

    @property
    def incomplete(self) -> list[str]:
        """Return the titles of the scripts that did not run to their end."""
        return [outcome.script.title for outcome in self.outcomes if not outcome.complete]

    @property
    def cost_usd(self) -> float:
        """Return the cost of the whole suite."""
        return sum(run.cost_usd for run in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        scripts = [run.to_dict() for run in self.results]
        return {
            "passed": self.passed,
            "stopped": self.stopped,
            "duration_s": self.duration_s,
            "cost_usd": self.cost_usd,
            "figures": figures(scripts),
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
            "scripts": scripts,
        }


def _memory_data(item: MemoryItem) -> dict[str, Any]:
    return {"id": item.id, "from": item.source or item.role or item.kind, "text": item.text}
