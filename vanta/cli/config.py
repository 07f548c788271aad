"""`vanta config`: what holds, whether it can work, and where a value came from.

Invariant: no secret is printed; what is shown is what `vanta.open` would use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from vanta.cli import output, tables

app = typer.Typer(help="Show, check and explain the configuration.", no_args_is_help=True)


@app.command()
def show(
    everything: Annotated[
        bool, typer.Option("--all", help="The keys that nobody set, too.")
    ] = False,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Show the effective configuration, with the source of each value.

    --json: an object with config (the whole of it, without secrets) and origins (key to source,
    for every key that somebody set).
    """
    from vanta.config import load

    loaded = load(output.config(config))
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    if json:
        output.print_json({"config": loaded.as_dict(), "origins": origins})
        return
    rows = [
        (key, _toml(value), origins.get(key, "vanta's default"))
        for key, value in _flat(loaded.as_dict(), origins)
        if everything or key in origins
    ]
    tables.show(("key", "value", "from"), rows)


@app.command()
def check(json: output.JsonOption = False, config: output.ConfigOption = None) -> None:
    """Check whether the configuration can work: its keys, and the names that it uses.

    Ends in 2 if it cannot. --json: an object with ok and problems, a list of sentences.
    """
    problems = _problems(output.config(config))
    if json:
        output.print_json({"ok": not problems, "problems": problems})
    elif not problems:
        tables.line("the configuration is fine")
    for problem in [] if json else problems:
        tables.line(problem)
    if problems:
        raise typer.Exit(output.ExitCode.USAGE)


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="As in `tracks.local.window`, or a table.")
    ],
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Explain a key: what it does, its value, where that came from, and what it went before.

    --json: an object with key, value, origin, description, below and parts.
    """
    from vanta.config import load

    explanation = load(output.config(config)).explain(key)
    if json:
        output.print_json(explanation.to_dict())
    else:
        tables.line(str(explanation))


def _problems(source: str | None) -> list[str]:
    """All that a person has to change, one sentence each."""
    from vanta import plugin_loading as plugins
    from vanta.config import load
    from vanta.diagnosis import configuration_problems
    from vanta.errors import UsageError

    try:
        loaded = load(source)
        chosen = loaded.config.plugins
        return list(
            configuration_problems(loaded, plugins.load(chosen.allow, strict=chosen.strict))
        )
    except UsageError as error:
        return str(error).splitlines()


def _flat(
    table: Mapping[str, Any], known: Mapping[str, str], above: str = ""
) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; a table that was set as one is one value."""
    for name, value in table.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value and key not in known:
            yield from _flat(value, known, f"{key}.")
        else:
            yield key, value


def _toml(value: Any) -> str:
    import json

    if value is None:
        return "unset"
    return json.dumps(value, ensure_ascii=False)
