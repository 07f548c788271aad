"""`vanta config`: the effective configuration, its problems, and the origin of each value.

Invariant: no secret is printed, and the shown values are those that `vanta.open` would use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption, config_source
from vanta.cli.setup import load_setup

app = typer.Typer(help="Show, check and explain the configuration.", no_args_is_help=True)


@app.command()
def show(
    everything: Annotated[
        bool, typer.Option("--all", help="Include the keys that have their default value.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the effective configuration, with the source of each value.

    --json: an object with config (the whole configuration without secrets) and origins (key to
    source, for every key that is set).
    """
    from vanta.config import load

    loaded = load(config_source(config))
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    if json:
        output.print_json({"config": loaded.as_dict(), "origins": origins})
        return
    rows = [
        (key, _format_value(value), origins.get(key, "vanta's default"))
        for key, value in _flatten(loaded.as_dict(), origins)
        if everything or key in origins
    ]
    output.print_table(("key", "value", "from"), rows)


@app.command()
def check(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check whether the configuration can work: its keys, and the names that it uses.

    The exit code is 2 if it cannot. --json: an object with ok and problems, a list of sentences.
    """
    problems = _problems(config_source(config))
    if json:
        output.print_json({"ok": not problems, "problems": problems})
    elif not problems:
        output.print_line("the configuration is fine")
    for problem in [] if json else problems:
        output.print_line(problem)
    if problems:
        raise typer.Exit(output.ExitCode.USAGE)


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A key such as `tracks.local.window`, or a table.")
    ],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Explain a key: its meaning, its value, the value's source, and the values it overrides.

    --json: an object with key, value, origin, description, below and parts.
    """
    from vanta.config import load

    loaded = load(config_source(config))
    explanation = loaded.explain(key)
    if key.partition(".")[0] == "tracks":  # what models recommend needs the plugins
        explanation = loaded.explain(key, load_setup(config).recommended_sampling())
    if json:
        output.print_json(explanation.to_dict())
    else:
        output.print_line(str(explanation))


def _problems(source: str | None) -> list[str]:
    """Return everything that a person must change, one sentence each."""
    from vanta import plugin_loading
    from vanta.config import load
    from vanta.diagnosis import configuration_problems
    from vanta.errors import UsageError

    try:
        loaded = load(source)
        chosen = loaded.config.plugins
        plugins = plugin_loading.load(chosen.allow, strict=chosen.strict)
        ignored = loaded.trust.mistakes if loaded.trust is not None else ()
        return [*ignored, *configuration_problems(loaded, plugins)]
    except UsageError as error:
        return str(error).splitlines()


def _flatten(
    table: Mapping[str, Any], known: Mapping[str, str], above: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their values; a table with an origin of its own is one value."""
    for name, value in table.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value and key not in known:
            yield from _flatten(value, known, f"{key}.")
        else:
            yield key, value


def _format_value(value: Any) -> str:
    import json

    if value is None:
        return "unset"
    return json.dumps(value, ensure_ascii=False)
