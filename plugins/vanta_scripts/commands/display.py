"""How a run of scripts looks in a terminal: a line for each turn, details of failures, a bar.

Invariant: verdicts go to stdout; the progress bar goes to stderr, and only if that is a terminal.
Text of models and servers cannot control the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vanta.cli import (
    describe_event,
    format_money,
    format_seconds,
    print_status,
    printable,
    stderr,
    stdout,
)
from vanta.drawing import timeline
from vanta_scripts.reports.figures import compared_figures, comparison

if TYPE_CHECKING:
    from vanta_scripts.results import RunReport, ScriptOutcome, TurnResult
    from vanta_scripts.script import Script


class RunDisplay:
    """Shows results as they come. Use it as a context.

    :param turns: the number of turns to expect.
    """

    def __init__(self, turns: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=stderr(),
            transient=True,
            disable=not stderr().is_terminal,
        )
        self._task = self._progress.add_task("turns", total=turns)

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, script: Script, turn: TurnResult) -> None:
        """Print a line for a turn; a failed one is followed by its failures and its timeline."""
        self._progress.update(self._task, advance=1, description=escape(script.title[:40]))
        sign = Text("✓ ", "green") if turn.passed else Text("✗ ", "bold red")
        head, _, rest = printable(turn.describe()).partition("\n")
        line = sign.append(f"{printable(script.title)} ", "bold")
        line.append(head, "not bold default")
        if turn.reply:
            duration = format_seconds(turn.reply.timings.duration_s)
            line.append(f"  ({turn.reply.track}, {duration})", "not bold dim")
        line.append(f"\n{rest}" if rest else "", "not bold default")
        stdout().print(line, soft_wrap=True)
        if not turn.passed:
            _print_course(turn)


def print_outcomes(report: RunReport) -> None:
    """Print a line for each script, and the total."""
    for outcome in report.outcomes:
        stdout().print(_outcome_line(outcome), soft_wrap=True)
        for warning in dict.fromkeys(text for run in outcome.runs for text in run.warnings):
            line = f"  warning  {printable(outcome.script.source)}: {printable(warning)}"
            stdout().print(Text(line, "yellow"), soft_wrap=True)
    if report.stopped:
        print_status(f"not everything was run: {printable(report.stopped)}", "yellow")
    if len(report.outcomes) > 1:
        passed = sum(outcome.passed for outcome in report.outcomes)
        duration = format_seconds(report.duration_s)
        line = f"{passed} of {len(report.outcomes)} scripts passed in {duration}"
        style = "bold green" if report.passed else "bold red"
        stdout().print(Text(f"{line}, {format_money(report.cost_usd)}", style), soft_wrap=True)


def print_comparison(report: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """Print a table that compares a run with an earlier one, or the variants of a matrix."""
    compared = compared_figures(report, before)
    if len(compared) < 2:
        return
    table = Table("", box=None, header_style="")
    for label in compared:
        table.add_column(Text(printable(label)), justify="right")
    for row in comparison(compared):
        cells = [
            Text(value, "green" if at in row.best else "") for at, value in enumerate(row.values)
        ]
        table.add_row(Text(row.name, "dim"), *cells)
    stdout().print(table)


def _print_course(turn: TurnResult) -> None:
    """Print the timeline of a turn, or its events if it has no reply."""
    if turn.reply and turn.reply.trace.legs:
        stdout().print(Padding(timeline(turn.reply.trace, legend=False), (0, 0, 0, 2)))
        return
    for event in turn.events:
        text = describe_event(event)
        if text:
            line = f"  {format_seconds(event.at_s):>7}  {printable(text)}"
            stdout().print(Text(line, "dim"), soft_wrap=True)


def _outcome_line(outcome: ScriptOutcome) -> Text:
    turns = [turn for run in outcome.runs for turn in run.turns]
    passed = sum(turn.passed for turn in turns)
    title = printable(outcome.script.title)
    duration = format_seconds(sum(run.duration_s for run in outcome.runs))
    line = f"{title}: {passed} of {len(turns)} turns passed in {duration}, "
    line += format_money(sum(run.cost_usd for run in outcome.runs))
    if outcome.planned > 1:
        required = f"{outcome.script.pass_rate:.0%} required"
        line += f"; {outcome.passed_runs} of {outcome.planned} runs passed, {required}"
    stopped = [run.stopped for run in outcome.runs if run.stopped]
    if stopped:
        line += f"; stopped: {printable(stopped[0])}"
    elif not outcome.complete:
        line += "; not run" if not outcome.runs else "; not run to its end"
    return Text(line, "green" if outcome.passed else "bold red")
