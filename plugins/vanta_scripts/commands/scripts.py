"""`vanta scripts`: begin, check and describe scripts.

Invariant: nothing is run and no engine is loaded; what `check` accepts, `vanta run` begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import (
    ConfigOption,
    ExitCode,
    JsonOption,
    load_setup,
    print_json,
    print_status,
    printable,
    stdout,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vanta_scripts import Expectation

app = typer.Typer(help="Begin, check and describe scripted conversations.", no_args_is_help=True)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ending in .yaml.")],
    name: Annotated[str, typer.Option("--name", help="The script's name.")] = "",
) -> None:
    """Write a script to begin with."""
    from vanta_scripts.writing import new_script

    if file.exists():
        raise typer.BadParameter(f"{file} exists: take another name, or remove it.")
    text = new_script(name or file.name.partition(".")[0], str(file))
    write_file(file, lambda path: path.write_text(text, encoding="utf-8"))
    print_status(f"{file} is written: change it, then `vanta run {file}`")


@app.command()
def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, or folders of them.")
    ],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say what is wrong with scripts, without running them.

    Exit code: 0 if all are right, 2 if one is not.
    """
    from vanta.errors import ScriptError
    from vanta_scripts import check_files, find_scripts, load_script

    known = _known(config)
    faults: dict[str, str] = {}
    found = find_scripts(paths)
    for path in found:
        try:
            check_files(load_script(path, known))
        except ScriptError as error:
            faults[str(path)] = str(error)
    if json:
        print_json({"checked": len(found), "faults": faults})
    else:
        for fault in faults.values():
            stdout().print(fault, style="red", markup=False, soft_wrap=True)
        print_status(f"{len(found) - len(faults)} of {len(found)} scripts are right")
    raise typer.Exit(ExitCode.USAGE if faults else ExitCode.FINE)


@app.command()
def schema(config: ConfigOption = None) -> None:
    """Print the JSON Schema of scripts, for editors; what plugins bring is in it."""
    from vanta_scripts import script_schema

    print_json(script_schema(_known(config)))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="What `vanta run --json` printed.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write it as JUnit XML.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="RUN", help="An earlier run to compare.")
    ] = None,
) -> None:
    """Show a run that was saved, or write it in another form."""
    from vanta_scripts.commands.run import read_report, write_report
    from vanta_scripts.commands.run_display import compare

    told = read_report(run)
    before = read_report(against) if against else None
    write_report(told, before, junit=junit, html=html)
    for outcome in told["outcomes"]:
        style = "green" if outcome["passed"] else "bold red"
        line = f"{outcome['title']}: {outcome['passed_runs']} of {outcome['planned']} runs passed"
        stdout().print(printable(line), style=style, markup=False, soft_wrap=True)
    compare(told, before)


def _known(config: str | None) -> Mapping[str, Expectation]:
    from vanta_scripts import known_expectations

    return known_expectations(load_setup(config).plugins)
