"""A command of the command line that is imported only when it runs.

Plugins return it from the hook `vanta_commands`, so `vanta --help` can list the command without
importing it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vanta.errors import PluginError

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True, slots=True)
class Command:
    """A lazily imported command, or a group of commands.

    :param help: one line for `vanta --help`; the first line of the command's own help.
    :param target: where its `typer.Typer` is, as ``"package.module:attribute"``.
    """

    help: str
    target: str

    def load(self) -> typer.Typer:
        """Import the target and return it.

        :raises PluginError: if the target cannot be imported or is not a `typer.Typer`.
        """
        import typer

        module, _, attribute = self.target.partition(":")
        try:
            app = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"the command at {self.target!r} cannot be imported: {type(error).__name__}: "
                f"{error}. Ask the author of its plugin, or take the plugin out of plugins.allow."
            ) from error
        if not isinstance(app, typer.Typer):
            raise PluginError(f"the command at {self.target!r} is not a typer.Typer: {app!r}.")
        return app
