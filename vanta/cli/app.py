"""The root command: which commands exist, and how each is imported when it runs.

A command is a `typer.Typer`: with one command and no callback it is `vanta NAME`, otherwise (a
group with a single command needs an empty callback) it is `vanta NAME COMMAND`. The help page is
made of lazy `Command`s, so it imports none of them. A command imports heavy libraries (`vanta.open`
and everything behind it) inside its function.

Built-in plugins name their hook `vanta_commands` in the entry-point group `vanta.commands`, so
their commands are found without the configuration and without any other plugin. Commands of
third-party plugins need both; they are loaded for the help page and for a completion if such a
plugin is installed, and otherwise only for an unknown name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vanta.cli.options import ConfigOption, config_source, set_config
from vanta.hookspecs import Command
from vanta.installation import is_own
from vanta.text import printable

COMMANDS: Mapping[str, Command] = {
    "ask": Command("Ask one question and print the reply.", "vanta.cli.ask:app"),
    "chat": Command("Talk, and see the reply while it is written.", "vanta.cli.chat.app:app"),
    "demo": Command("See tracks race, cascade, take over, share a call.", "vanta.cli.demo.app:app"),
    "models": Command("List, inspect, fetch and verify models.", "vanta.cli.models:app"),
    "engines": Command("List engines and their capabilities.", "vanta.cli.listings:engines"),
    "plugins": Command("List plugins and what they provide.", "vanta.cli.listings:plugins"),
    "policies": Command("List and explain policies.", "vanta.cli.listings:policies"),
    "tools": Command("List, show, check and call tools.", "vanta.cli.tools.app:app"),
    "templates": Command(
        "List, show, render, create and check prompt templates.", "vanta.cli.templates.app:app"
    ),
    "calls": Command(
        "List tool calls, and settle those with an unknown outcome.", "vanta.cli.calls.app:app"
    ),
    "approvals": Command(
        "Decide about tool calls that wait; list and revoke standing approvals.",
        "vanta.cli.calls.approvals:app",
    ),
    "sessions": Command(
        "List, show, rename, search, export and delete conversations.",
        "vanta.cli.sessions.app:app",
    ),
    "memory": Command(
        "Search memory, add to it, export, import and forget.", "vanta.cli.memory.app:app"
    ),
    "budget": Command("Let a cap on spending count from now on.", "vanta.cli.spend:budget"),
    "spend": Command(
        "Show the money spent: today, and by user, session and track.", "vanta.cli.spend:app"
    ),
    "config": Command("Show, check and explain the configuration.", "vanta.cli.config:app"),
    "trust": Command(
        "Let a project folder's configuration and templates count.", "vanta.cli.trust:app"
    ),
    "doctor": Command(
        "Check what works on this machine and how to fix the rest.", "vanta.cli.doctor:app"
    ),
    "learnt": Command(
        "List what was learnt about tracks, or forget it.", "vanta.cli.doctor:learnt"
    ),
    "stats": Command(
        "Show how well each track answered: wins, failures, times, tokens and cost.",
        "vanta.cli.stats:app",
    ),
    "trace": Command("See what happened in a turn, leg by leg.", "vanta.cli.trace:app"),
    "bench": Command("Measure vanta's speed and cost beside its peers.", "vanta.cli.bench:app"),
}
PLUGINS = "vanta"
_MOST_SHOWN = 60
BUILTIN_COMMANDS = "vanta.commands"


class Commands(TyperGroup):
    """The commands by name; each is a placeholder with a line of help until it runs.

    Errors of usage are printed by typer; their message may quote a file's name or its text.
    """

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands.update(_placeholders(COMMANDS))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the root's options; see `click.Command.make_context`."""
        with _printable_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's options and run it; see `click.Command.invoke`."""
        with _printable_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, those of plugins last."""
        if _third_party_plugins():
            self.commands.update(_placeholders(_commands_for_help()))
        else:
            self.commands.update(_placeholders(_builtin_commands()))
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the placeholder of the command by the command itself."""
        name = args[0]
        if not name.startswith("-"):
            command = COMMANDS.get(name) or _builtin_commands().get(name)
            if command is None:
                others = _plugin_commands()
                self.commands.update(_placeholders(others))
                command = others.get(name)
            if command is not None:
                self.commands[name] = _as_click(command, name)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="vanta",
    cls=Commands,
    help="Every turn answered by a local and an API model at once, raced under a policy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from vanta import __version__

        print(f"vanta {__version__}")
        raise typer.Exit


@app.callback()
def root(
    config: ConfigOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keep the options that every command may use."""
    set_config(config)


def run(argv: Sequence[str] | None) -> None:
    """Run the command line.

    :param argv: the arguments; those of the process if None.
    :raises SystemExit: at the end of most commands; an error of the command is raised as it is.
    """
    app(args=None if argv is None else list(argv), prog_name="vanta")


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "message"):
            error.message = printable(_with_value(error))
        raise


def _with_value(error: Any) -> str:
    """Return the message of an error of usage; one about a value of pydantic's names the value."""
    message, cause = str(error.message), error.__cause__
    if cause is None or not hasattr(cause, "error_count"):
        return message
    details = cause.errors()[0]
    value = str(details["input"])
    shown = repr(value if len(value) <= _MOST_SHOWN else value[:_MOST_SHOWN] + "...")
    kind = {"int_parsing": "a whole number", "float_parsing": "a number"}.get(details["type"])
    if kind is None and details["type"].startswith("int_"):
        kind = "a whole number"
    return f"{shown} is not {kind}." if kind else f"{shown}: {message}"


def _placeholders(commands: Mapping[str, typer.Typer | Command]) -> dict[str, Any]:
    return {
        name: TyperCommand(name=name, help=command.help)
        if isinstance(command, Command)
        else _as_click(command, name)
        for name, command in commands.items()
    }


def _as_click(command: typer.Typer | Command, name: str) -> Any:
    app_of_command = command.load() if isinstance(command, Command) else command
    # Completion belongs to the root; without this, typer adds its options to every command.
    app_of_command._add_completion = False  # noqa: SLF001 - typer has no public way after construction
    loaded = typer.main.get_command(app_of_command)
    loaded.name = name
    return loaded


def _third_party_plugins() -> bool:
    points = metadata.entry_points(group=PLUGINS)
    return any(point.dist is None or not is_own(point.dist.name) for point in points)


def _builtin_commands() -> Mapping[str, typer.Typer | Command]:
    """Return the commands of vanta's own plugins; a plugin that fails is isolated as always."""
    commands: dict[str, typer.Typer | Command] = {}
    try:
        for point in metadata.entry_points(group=BUILTIN_COMMANDS):
            if point.dist is not None and is_own(point.dist.name):
                commands.update(point.load()())
    except Exception:  # noqa: BLE001 - the plugin loader isolates the plugin and says why
        return _plugin_commands()
    return commands


def _commands_for_help() -> Mapping[str, typer.Typer | Command]:
    """Return the commands of all plugins; without a readable configuration, of vanta's own."""
    from vanta.errors import ConfigError

    try:
        return _plugin_commands()
    except ConfigError:  # `vanta config check` reports it
        return _builtin_commands()


def _plugin_commands() -> Mapping[str, typer.Typer | Command]:
    """Return the commands of all plugins that are on.

    :raises PluginError: if a plugin claims the name of one of vanta's own commands.
    """
    from vanta import plugin_loading
    from vanta.config import load
    from vanta.errors import PluginError

    chosen = load(config_source()).config.plugins
    commands = plugin_loading.load(chosen.allow, strict=chosen.strict).commands
    for name in sorted(set(commands) & set(COMMANDS)):
        raise PluginError(
            f"plugin {commands.origin(name)!r} brings the command {name!r}, which vanta itself "
            "has. Take the plugin out of plugins.allow, or ask its author for another name."
        )
    return commands
