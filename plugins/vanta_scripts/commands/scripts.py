"""`vanta scripts`: create, check and describe scripts.

Invariant: no script runs and no engine is loaded. A script that `check` accepts can be read by
`vanta run`, and a script from `new` passes `check`.
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
from vanta.files import write_private
from vanta_scripts.commands.run import (
    AgainstOption,
    HtmlOption,
    JunitOption,
    read_report,
    write_reports,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vanta import Expectation

app = typer.Typer(help="Create, check and describe scripted conversations.", no_args_is_help=True)

_NEW = """\
# Run it with: vanta run {file}
# For completion in an editor: vanta scripts schema > script.json
name: {name}
description: What this conversation demonstrates.
tags: [smoke]
sampling:
  temperature: 0
turns:
  - say: Hello!
    expect:
      contains: Hello
      max_seconds: 60
  - say: What did I say first?
    expect:
      not_contains: "I don't know"
"""


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A name that ends in .yaml.")],
    name: Annotated[str, typer.Option("--name", help="The script's name.")] = "",
) -> None:
    """Write a first script to edit."""
    if file.exists():
        raise typer.BadParameter(f"{file} exists. Choose another name, or remove the file.")
    text = new_script(name or file.name.partition(".")[0], str(file))
    write_file(file, lambda path: write_private(path, text))
    print_status(f"{file} is written: edit it, then run `vanta run {file}`")


@app.command()
def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, or folders of them.")
    ],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Report the faults of scripts without running them.

    Exit code: 0 if all are valid, 2 if one is not.
    """
    from vanta import ScriptError
    from vanta_scripts import check_files, find_scripts, load_script

    known = _known_expectations(config)
    faults: dict[str, str] = {}
    files = find_scripts(paths)
    for path in files:
        try:
            check_files(load_script(path, known))
        except ScriptError as error:
            faults[str(path)] = str(error)
    if json:
        print_json({"checked": len(files), "faults": faults})
    else:
        for fault in faults.values():
            stdout().print(fault, style="red", markup=False, soft_wrap=True)
        print_status(f"{len(files) - len(faults)} of {len(files)} scripts are valid")
    raise typer.Exit(ExitCode.USAGE if faults else ExitCode.FINE)


@app.command()
def schema(config: ConfigOption = None) -> None:
    """Print the JSON Schema of scripts for editors, with the expectations of plugins."""
    from vanta_scripts import script_schema

    print_json(script_schema(_known_expectations(config)))


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A file with the output of `vanta run --json`.")
    ],
    html: HtmlOption = None,
    junit: JunitOption = None,
    against: AgainstOption = None,
) -> None:
    """Show a saved run, or write it in another form."""
    from vanta_scripts.commands.display import print_comparison

    saved = read_report(run)
    before = read_report(against) if against else None
    write_reports(saved, before, junit=junit, html=html)
    for outcome in saved["outcomes"]:
        style = "green" if outcome["passed"] else "bold red"
        line = f"{outcome['title']}: {outcome['passed_runs']} of {outcome['planned']} runs passed"
        stdout().print(printable(line), style=style, markup=False, soft_wrap=True)
    print_comparison(saved, before)


def new_script(name: str, file: str) -> str:
    """Return a first script in YAML; `file` is named in its comments."""
    import json

    return _NEW.format(name=json.dumps(name), file=file)


def _known_expectations(config: str | None) -> Mapping[str, Expectation]:
    from vanta_scripts import known_expectations

    return known_expectations(load_setup(config).plugins)
