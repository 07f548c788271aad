"""`vanta bench NAME`: measures what vanta costs and does, on this machine.

The benchmarks are a package of their own (`vanta.resources.benchmarks_dir`), loaded under a private
name, so that a checkout and an installed wheel use them the same way.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output, tables
from vanta.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer()

PACKAGE = "_vanta_benchmarks"


@app.command()
def bench(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which one; without it they are listed.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="End within a minute.")] = False,
    repetitions: Annotated[
        int | None, typer.Option(min=1, help="So many, in place of the benchmark's own number.")
    ] = None,
    peer_python: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A Python whose environment has the peers (litellm)."
        ),
    ] = None,
    llama_bin: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder with llama.cpp's programs."),
    ] = None,
    json: output.JsonOption = False,
) -> None:
    """Measure what vanta costs and does, beside what else there is.

    The configuration is the benchmark's own. Each figure is told once it is taken; Ctrl-C leaves a
    report of those that were. Ends in 1 if a figure misses its goal or could not be
    taken. --json: an object with bench, quick, machine, versions and figures: objects with name,
    value (null: could not be taken, note says why), unit, better (lower, higher), goal, holds (null
    for a figure without a goal), peer, peer_value and note.
    """
    benchmarks = load_benchmarks()
    if name is None:
        _show_names(benchmarks)
        return
    if name not in benchmarks.BENCHMARKS:
        raise UnknownName("benchmark", name, benchmarks.BENCHMARKS)
    with _progress() as progress:
        settings = benchmarks.Settings(
            quick=quick,
            repetitions=repetitions,
            peer_python=peer_python,
            llama_bin=llama_bin,
            progress=progress,
        )
        figures, interrupted = _taken(benchmarks.load(name).run(settings))
    report = benchmarks.report(name, figures, quick=quick)
    if json:
        output.print_json(report)
    else:
        show_report(report)
    if interrupted:
        raise typer.Exit(output.ExitCode.INTERRUPTED)
    if any(figure["holds"] is False for figure in report["figures"]):
        raise typer.Exit(output.ExitCode.FAILED)


def _taken(figures: Iterable[Any]) -> tuple[list[Any], bool]:
    """All figures, each told once it is taken; and whether Ctrl-C came before the last."""
    taken: list[Any] = []
    try:
        for figure in figures:
            taken.append(figure)
            output.say(f"  {figure.name}: {_amount(figure.value, figure.unit)}")
    except KeyboardInterrupt:
        if not taken:
            raise
        return taken, True
    return taken, False


def load_benchmarks() -> ModuleType:
    """The package of the benchmarks. Raises UsageError for a broken installation."""
    from vanta.resources import benchmarks_dir

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


def show_report(report: Mapping[str, Any]) -> None:
    """A report as a table, what has to be said of its figures below."""
    machine, figures = report["machine"], report["figures"]
    tables.line(f"{report['bench']} on {machine['processor']}, {machine['cores']} cores")
    tables.show(
        ("", "figure", ">value", ">goal", "verdict", ">peer"),
        [
            (
                f"{number}",
                figure["name"],
                _amount(figure["value"], figure["unit"]),
                _goal(figure),
                tables.mark(figure["holds"], ("holds", "misses", "-")),
                _amount(figure["peer_value"], figure["unit"]) if figure["peer"] else "",
            )
            for number, figure in enumerate(figures, 1)
        ],
    )
    for number, figure in enumerate(figures, 1):
        if figure["note"]:
            tables.line(f"{number}: {figure['note']}")
    peers = dict.fromkeys(figure["peer"] for figure in figures if figure["peer"])
    for peer in peers:
        tables.line(f"peer: {peer}")


def _show_names(benchmarks: ModuleType) -> None:
    found = {name: benchmarks.load(name).SUMMARY for name in benchmarks.BENCHMARKS}
    tables.show(("benchmark", "what it measures"), list(found.items()))


def _amount(value: float | None, unit: str) -> str:
    return "none" if value is None else f"{value:,.4g} {unit}"


def _goal(figure: Mapping[str, Any]) -> str:
    if figure["goal"] is None:
        return ""
    sign = "<=" if figure["better"] == "lower" else ">="
    return f"{sign} {figure['goal']:g}"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, a line for each thing that is measured elsewhere."""
    console = output.stderr()
    if not console.is_terminal:
        said: dict[str, None] = {}

        def say(what: str, _done: int, _total: int) -> None:
            if what not in said:
                said[what] = None
                output.say(f"measuring: {what}")

        yield say
        return
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting")

        def show(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        yield show
