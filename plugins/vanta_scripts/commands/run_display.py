"""How a run of scripts looks on a terminal: a line a turn, what failed in full, a bar below.

Invariant: verdicts go to stdout, the moving bar to stderr and only where that is a terminal; text
of models and servers cannot steer it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
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

if TYPE_CHECKING:
    from vanta_scripts import Outcome, RunReport, Script, TurnResult


class Display:
    """Shows verdicts as they come. Use it as a context; turns: how many there will be."""

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

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, script: Script, turn: TurnResult) -> None:
        """A line for a turn that passed; what was expected, what came and how it went else."""
        self._progress.update(self._task, advance=1, description=printable(script.title)[:40])
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
            self._how_it_went(turn)

    def _how_it_went(self, turn: TurnResult) -> None:
        from rich.padding import Padding

        from vanta.drawing import timeline

        if turn.reply and turn.reply.trace.legs:
            stdout().print(Padding(timeline(turn.reply.trace, legend=False), (0, 0, 0, 2)))
            return
        for event in turn.events:
            told = describe_event(event)
            if told:
                line = f"  {format_seconds(event.at_s):>7}  {printable(told)}"
                stdout().print(Text(line, "dim"), soft_wrap=True)


def conclude(report: RunReport) -> None:
    """A line for every script, and the sum."""
    for outcome in report.outcomes:
        stdout().print(_line(outcome), soft_wrap=True)
    if report.stopped:
        print_status(f"not everything was run: {printable(report.stopped)}", "yellow")
    if len(report.outcomes) > 1:
        passed = sum(outcome.passed for outcome in report.outcomes)
        duration = format_seconds(report.duration_s)
        line = f"{passed} of {len(report.outcomes)} scripts passed in {duration}"
        style = "bold green" if report.passed else "bold red"
        stdout().print(Text(f"{line}, {format_money(report.cost_usd)}", style), soft_wrap=True)


def compare(report: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """A table of an earlier run beside this one, or of a matrix's variants."""
    from rich.table import Table

    from vanta_scripts.comparison import rows, sides_of

    sides = sides_of(report, before)
    if len(sides) < 2:
        return
    table = Table("", box=None, header_style="")
    for side in sides:
        table.add_column(Text(printable(side)), justify="right")
    for row in rows(sides):
        cells = [
            Text(value, "green" if at in row.best else "") for at, value in enumerate(row.values)
        ]
        table.add_row(Text(row.name, "dim"), *cells)
    stdout().print(table)


def _line(outcome: Outcome) -> Text:
    turns = [turn for run in outcome.runs for turn in run.turns]
    passed = sum(turn.passed for turn in turns)
    title = printable(outcome.script.title)
    duration = format_seconds(sum(run.duration_s for run in outcome.runs))
    line = f"{title}: {passed} of {len(turns)} turns passed in {duration}, "
    line += format_money(sum(run.cost_usd for run in outcome.runs))
    if outcome.planned > 1:
        wanted = f"{outcome.script.pass_rate:.0%} wanted"
        line += f"; {outcome.passed_runs} of {outcome.planned} runs passed, {wanted}"
    stopped = [run.stopped for run in outcome.runs if run.stopped]
    if stopped:
        line += f"; stopped: {printable(stopped[0])}"
    elif not outcome.complete:
        line += "; not run" if not outcome.runs else "; not run to its end"
    return Text(line, "green" if outcome.passed else "bold red")
