"""`vanta trust`: which project folders may change what vanta does.

Invariant: these commands read the files of a folder and run nothing of it.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vanta.cli import output
from vanta.cli.options import JsonOption


class _FolderOrCommand(TyperGroup):
    """A group in which a word that is not a command is the folder to trust."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the command `add` before a folder."""
        if args[0] not in self.commands:
            args = ["add", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Trust the working directory if there are no arguments, or options alone."""
        if not {"-h", "--help"} & set(args) and all(word.startswith("-") for word in args):
            args = ["add", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FolderOrCommand,
    help="Let a project folder's configuration and templates count.\n\n"
    "`vanta trust [DIR]` trusts a folder as it is now, the working directory by default.",
    subcommand_metavar="[DIR] | COMMAND [ARGS]...",
)

FolderArgument = Annotated[
    Path, typer.Argument(metavar="[DIR]", help="The project's folder.", show_default=False)
]


@app.command()
def add(folder: FolderArgument = Path(), json: JsonOption = False) -> None:
    """Trust a folder: let its vanta.toml and its templates count, as they are now.

    A later change of one of these files ends the trust. Read them first: they can name servers,
    keys, plugins and files. --json: an object with folder, files and keys.
    """
    from vanta.config import add_trust

    project = _project(folder)
    settings = project.settings()
    add_trust(project.as_trusted())
    files = sorted(project.digests())
    keys = sorted({".".join(setting.key) for setting in settings})
    if json:
        output.print_json({"folder": str(project.path), "files": files, "keys": keys})
        return
    output.print_line(f"trusted: {str(project.path)!r}, as it is now")
    output.print_line(f"  files: {', '.join(map(repr, files))}")
    if keys:
        output.print_line(f"  keys: {', '.join(keys)}")


@app.command("list")
def list_folders(json: JsonOption = False) -> None:
    """List the trusted folders, and which of them have changed since.

    --json: a list of objects with folder, state (trusted, changed, missing) and trusted_at.
    """
    from vanta.config import trusted_folders

    rows = [
        (str(path), _state(path), entry.trusted_at)
        for path, entry in sorted(trusted_folders().items())
    ]
    if json:
        names = ("folder", "state", "trusted_at")
        output.print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif rows:
        shown = [(folder, state, _date(at)) for folder, state, at in rows]
        output.print_table(("folder", "state", "trusted"), shown)
    else:
        output.print_status("no folder is trusted")


@app.command()
def revoke(
    folder: FolderArgument = Path(),
    everything: Annotated[bool, typer.Option("--all", help="Revoke the trust in all folders.")] = (
        False
    ),
    json: JsonOption = False,
) -> None:
    """Revoke the trust in a folder. --json: an object with revoked, a list of folders."""
    from vanta.config import revoke_trust
    from vanta.errors import UsageError

    path = folder.resolve()
    removed = [str(item) for item in revoke_trust(None if everything else path)]
    if not removed and not everything:
        raise UsageError(f"{str(path)!r} is not trusted. See `vanta trust list`.")
    if json:
        output.print_json({"revoked": removed})
    for item in [] if json else removed:
        output.print_line(f"no longer trusted: {item!r}")


def _project(folder: Path) -> Any:
    from vanta.config import find_project
    from vanta.errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is not a folder. Name the project's folder.")
    project = find_project(folder)
    if project is None:
        raise UsageError(
            f"{str(folder.resolve())!r} has no vanta.toml, no .mcp.json and no templates in "
            ".vanta/templates: there is nothing to trust."
        )
    return project


def _state(path: Path) -> str:
    from vanta.config import find_project, trust_in
    from vanta.errors import UsageError

    try:
        project = find_project(path)
        return "missing" if project is None else trust_in(project).state
    except UsageError:
        return "changed"


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
