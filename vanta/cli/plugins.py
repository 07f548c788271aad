"""`vanta plugins list`: what is installed, what it brings, and why one is not on."""

from __future__ import annotations

from typing import Any

import typer

from vanta.cli import output, tables
from vanta.cli.ground import ground

app = typer.Typer(help="List plugins and what they bring.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """List plugins and what they bring."""


@app.command("list")
def list_plugins(json: output.JsonOption = False, config: output.ConfigOption = None) -> None:
    """List every plugin that is installed, on or not.

    --json: a list of objects with name, module, distribution, version, builtin, status (on, off,
    failed), reason, hooks and brings.
    """
    found = ground(config, strict=False).plugins.describe()
    if json:
        output.print_json(found)
        return
    tables.show(
        ("plugin", "status", "from", "brings, or why it is not on"),
        [
            (
                plugin["name"],
                tables.mark(_is_on(plugin), ("on", "failed", "off")),
                f"{plugin['distribution']} {plugin['version']}".strip() or plugin["module"],
                plugin["reason"] or _brought(plugin["brings"]),
            )
            for plugin in found
        ],
    )


def _is_on(plugin: dict[str, Any]) -> bool | None:
    return {"on": True, "failed": False}.get(plugin["status"])


def _brought(brings: dict[str, list[str]]) -> str:
    """`engines: openai; policies: ...`, by what the hooks are called."""
    return "; ".join(
        f"{hook.removeprefix('vanta_').replace('_', ' ')}: {', '.join(names)}"
        for hook, names in brings.items()
        if names
    )
