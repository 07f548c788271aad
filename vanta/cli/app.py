"""The root command: what commands there are, and how each is found when it is used.

Every command of vanta's own lives in a module `vanta.cli.NAME` that exposes `app: typer.Typer`:
with one command and no callback it is `vanta NAME`, otherwise (a group with a single command needs
an empty callback) it is `vanta NAME COMMAND`. The module is imported when its command runs; the
help page is made of `COMMANDS` alone, so that it costs no import. A command imports what is heavy
(`vanta.open` and all behind it) inside its function.

A plugin's commands are looked for when a name is none of vanta's own, and for the help page or a
completion only if a plugin of someone else is installed: asking what is installed takes some
milliseconds, loading the configuration and the plugins takes some hundred.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vanta.cli import output

COMMANDS: Mapping[str, str] = {
    "ask": "Ask one question and print the reply.",
    "chat": "Talk, with the reply as it is written.",
    "demo": "See both tracks race, cascade and take over.",
    "models": "List, inspect, fetch and verify models.",
    "engines": "List engines and what they can do.",
    "plugins": "List plugins and what they bring.",
    "policies": "List and explain policies.",
    "templates": "List, show, render, make and check prompt templates.",
    "memory": "Search what is remembered, add to it, carry it along, forget.",
    "spend": "Show what was spent: today, and by user, session and track.",
    "config": "Show, check and explain the configuration.",
    "doctor": "See what works on this machine, what is missing, and the command that mends it.",
    "trace": "See what happened in a turn, leg by leg.",
    "bench": "Measure what vanta costs and does, beside what else there is.",
}


class Commands(TyperGroup):
    """The commands by name: stand-ins with a line of help until one is used."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands.update({name: _stand_in(name, line) for name, line in COMMANDS.items()})

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, those of plugins last."""
        self._add_plugins()
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command in the place of its stand-in, then as typer does."""
        name = args[0]
        if name in COMMANDS:
            self.commands[name] = _real(importlib.import_module(f"vanta.cli.{name}").app, name)
        elif not name.startswith("-"):
            self._add_plugins()
        return super().resolve_command(ctx, args)

    def _add_plugins(self) -> None:
        for name, plugin_app in _plugin_commands().items():
            self.commands[name] = _real(plugin_app, name)


app = typer.Typer(
    name="vanta",
    cls=Commands,
    help="Every turn answered by a local and an API model at once, raced under a policy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from vanta import __version__

        print(f"vanta {__version__}")
        raise typer.Exit


@app.callback()
def root(
    config: output.ConfigOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keep what holds for every command."""
    output.set_config(config)


def run(argv: Sequence[str] | None) -> None:
    """Run the command line; ends in SystemExit, or in what a command raised."""
    app(args=None if argv is None else list(argv), prog_name="vanta")


def _stand_in(name: str, line: str) -> Any:
    return TyperCommand(name=name, help=line)


def _real(found: typer.Typer, name: str) -> Any:
    # Completion belongs to the root; without this, typer adds its options to every command.
    found._add_completion = False  # noqa: SLF001 - typer has no public way after construction
    command = typer.main.get_command(found)
    command.name = name
    return command


def _plugin_commands() -> dict[str, typer.Typer]:
    """Commands of the plugins that are on. Raises PluginError for one that vanta itself has."""
    from vanta import plugin_loading as plugins
    from vanta.config import load
    from vanta.errors import PluginError

    allowed = load(output.config()).config.plugins
    found = plugins.load(allowed.allow, strict=allowed.strict).commands
    for name in sorted(set(found) & set(COMMANDS)):
        raise PluginError(
            f"plugin {found.origin(name)!r} brings the command {name!r}, which vanta itself "
            "has. Take the plugin out of plugins.allow, or ask its author for another name."
        )
    return dict(found)
