"""What a run of many scripts came to.

Invariant: frozen and JSON-ready; every other form of a report (JUnit, HTML, a comparison) is made
from `RunReport.to_dict()`, so that a saved one is as good as a fresh one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vanta_scripts.figures import figures
from vanta_scripts.model import Script
from vanta_scripts.results import ExitCode, ScriptResult


@dataclass(frozen=True, slots=True)
class Outcome:
    """The runs of one script (or of one variant of it) and their verdict; planned: how many."""

    script: Script
    runs: tuple[ScriptResult, ...]
    planned: int

    @property
    def passed_runs(self) -> int:
        """How many runs passed."""
        return sum(run.passed for run in self.runs)

    @property
    def complete(self) -> bool:
        """Whether every run came to its end."""
        return len(self.runs) == self.planned and not any(run.stopped for run in self.runs)

    @property
    def passed(self) -> bool:
        """Whether all was run, and the share of runs that passed is what the script wants."""
        return self.complete and self.passed_runs >= self.script.pass_rate * self.planned - 1e-9

    @property
    def failed(self) -> bool:
        """Whether what was run cannot pass any more: another verdict than "not run to the end"."""
        broken = sum(any(not turn.passed for turn in run.turns) for run in self.runs)
        allowed = self.planned * (1 - self.script.pass_rate) + 1e-9
        return (self.complete and not self.passed) or broken > allowed or self._could_not_begin

    @property
    def _could_not_begin(self) -> bool:
        return any(run.stopped and not run.turns for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data, without the runs."""
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
    """All outcomes, in the order of the scripts; stopped: why not everything was run."""

    outcomes: tuple[Outcome, ...]
    duration_s: float
    stopped: str = ""

    @property
    def results(self) -> list[ScriptResult]:
        """Every run of every script."""
        return [run for outcome in self.outcomes for run in outcome.runs]

    @property
    def passed(self) -> bool:
        """Whether everything was run and passed."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def not_run(self) -> list[str]:
        """Titles of the scripts that were not run, or not to their end."""
        return [one.script.title for one in self.outcomes if not one.complete]

    @property
    def cost_usd(self) -> float:
        """What everything cost."""
        return sum(run.cost_usd for run in self.results)

    @property
    def exit_code(self) -> ExitCode:
        """For the shell: a failure goes before what was not run."""
        if self.passed:
            return ExitCode.ALL_HOLD
        failed = any(outcome.failed for outcome in self.outcomes)
        return ExitCode.SOME_FAILED if failed else ExitCode.COULD_NOT_RUN

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
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
