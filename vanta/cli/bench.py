"""`vanta bench NAME`: measure vanta's speed and cost on this machine.

The benchmarks are a package of their own (`vanta.installation.benchmarks_dir`). It is loaded under
a private name, so a checkout and an installed wheel use it the same way.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import JsonOption
from vanta.errors import UnknownName

app = typer.Typer()

PACKAGE = "_vanta_benchmarks"


@app.command()
def bench(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The benchmark; without it, list all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="End within a minute.")] = False,
    repetitions: Annotated[
        int | None, typer.Option(min=1, help="Repetitions, instead of the benchmark's own number.")
    ] = None,
    peer_python: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A Python whose environment has the peers."),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Measure this part only; may be repeated."),
    ] = None,
    llama_bin: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder with llama.cpp's programs."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure vanta's speed and cost beside its peers.

    The configuration is the benchmark's own. Each figure is printed once it is taken; Ctrl-C leaves
    a report of the figures taken so far. The exit code is 1 if a figure misses its goal or could
    not be taken. --json: an object with bench, quick, commit (null outside a checkout), machine,
    versions and figures: objects with name, value (null if it could not be taken; note gives the
    reason), unit, better (lower, higher), goal, holds (null for a figure without a goal), peer,
    peer_value and note.
    """
    benchmarks = load_benchmarks()
    if name is None:
        _show_names(benchmarks)
        return
    if name not in benchmarks.BENCHMARKS:
        raise UnknownName("benchmark", name, benchmarks.BENCHMARKS)
    for chosen in part or ():
        if chosen not in benchmarks.parts_of(name):
            raise UnknownName(f"part of the benchmark {name!r}", chosen, benchmarks.parts_of(name))
    with _progress() as progress:
        settings = benchmarks.Settings(
            quick=quick,
            repetitions=repetitions,
            peer_python=peer_python,
            llama_bin=llama_bin,
            parts=part or (),
            progress=progress,
        )
        figures, interrupted = _take(benchmarks.load(name).run(settings))
    report = benchmarks.report(name, figures, quick=quick)
    if json:
        output.print_json(report)
    else:
        _show_report(report)
    if interrupted:
        raise typer.Exit(output.ExitCode.INTERRUPTED)
    if any(figure["holds"] is False for figure in report["figures"]):
        raise typer.Exit(output.ExitCode.FAILED)


def load_benchmarks() -> ModuleType:
    """Return the package of the benchmarks.

    :raises UsageError: if the installation is incomplete.
    """
    from vanta.installation import benchmarks_dir

    if PACKAGE in sys.modules:
        return sys.modules[PACKAGE]
    folder = benchmarks_dir()
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None  # noqa: S101 - a path that ends in .py always has one
    assert spec.loader is not None  # noqa: S101
    package = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[PACKAGE]
        raise
    return package


def _take(figures: Iterable[Any]) -> tuple[list[Any], bool]:
    """Return the figures, each printed once it is taken, and whether Ctrl-C ended the benchmark."""
    taken: list[Any] = []
    try:
        for figure in figures:
            taken.append(figure)
            output.print_status(f"  {figure.name}: {_amount(figure.value, figure.unit)}")
    except KeyboardInterrupt:
        if not taken:
            raise
        return taken, True
    return taken, False


def _show_report(report: Mapping[str, Any]) -> None:
    """Print a report as a table, with the notes of its figures below."""
    machine, figures = report["machine"], report["figures"]
    commit = f", at commit {report['commit']}" if report["commit"] else ""
    output.print_line(
        f"{report['bench']} on {machine['processor']}, {machine['cores']} cores{commit}"
    )
    output.print_table(
        ("", "figure", ">value", ">goal", "verdict", ">peer"),
        [
            (
                f"{number}",
                figure["name"],
                _amount(figure["value"], figure["unit"]),
                _goal(figure),
                output.status_cell(figure["holds"], ("holds", "misses", "-")),
                _amount(figure["peer_value"], figure["unit"]) if figure["peer"] else "",
            )
            for number, figure in enumerate(figures, 1)
        ],
    )
    for number, figure in enumerate(figures, 1):
        if figure["note"]:
            output.print_line(f"{number}: {figure['note']}")
    peers = dict.fromkeys(figure["peer"] for figure in figures if figure["peer"])
    for peer in peers:
        output.print_line(f"peer: {peer}")


def _show_names(benchmarks: ModuleType) -> None:
    summaries = {name: benchmarks.load(name).SUMMARY for name in benchmarks.BENCHMARKS}
    output.print_table(("benchmark", "what it measures"), list(summaries.items()))


def _amount(value: float | None, unit: str) -> str:
    return "none" if value is None else f"{value:,.4g} {unit}"


def _goal(figure: Mapping[str, Any]) -> str:
    if figure["goal"] is None:
        return ""
    sign = "<=" if figure["better"] == "lower" else ">="
    return f"{sign} {figure['goal']:g}"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on a terminal, and elsewhere one line for each measurement."""
    console = output.stderr()
    if not console.is_terminal:
        shown: set[str] = set()

        def show_line(measurement: str, _done: int, _total: int) -> None:
            if measurement not in shown:
                shown.add(measurement)
                output.print_status(f"measuring: {measurement}")

        yield show_line
        return
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting")

        def show_bar(measurement: str, done: int, total: int) -> None:
            bars.update(task, description=measurement, completed=done, total=total)

        yield show_bar
