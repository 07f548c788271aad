"""The settings of a server as its connection uses them: secrets are read when it is started.

Invariant: a value of the environment is read in the moment it is needed and never kept in a
message. A reference to a variable that is not set is an error that names the variable.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vanta import ToolError
from vanta.config import McpServerConfig

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

PASSED_ON = frozenset(
    {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ"}
    | {"USER", "APPDATA", "LOCALAPPDATA", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP"}
    | {"USERPROFILE"}
)
"""The variables that a program gets beside those of its `env`: none that usually hold secrets."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the configuration.

    :param name: its name, which is the name of its toolset.
    :param config: its settings.
    :param data_dir: a folder for what is stored about it.
    :param folder: the folder that the program was started in.
    """

    name: str
    config: McpServerConfig
    data_dir: Path
    folder: Path

    @property
    def where(self) -> str:
        """What people call the place of the server: its URL, or its program with arguments."""
        config = self.config
        return config.url or " ".join([config.command or "", *config.args])

    def offers(self, tool: str) -> bool:
        """Return whether a tool is offered, by the lists of the configuration."""
        config = self.config
        return _matches(tool, config.allow_tools) and not _matches(tool, config.deny_tools)

    def environment(self) -> dict[str, str]:
        """Return the environment of its program.

        :raises ToolError: if a variable that it refers to is not set.
        """
        own = {name: value for name, value in os.environ.items() if name in PASSED_ON}
        return own | {name: self.expanded(value) for name, value in self.config.env.items()}

    def headers(self) -> dict[str, str]:
        """Return its HTTP headers.

        :raises ToolError: if a variable that they refer to is not set, or has a line break.
        """
        headers = {name: self.expanded(value) for name, value in self.config.headers.items()}
        for name, value in headers.items():
            if not value.isprintable() or not value.isascii():
                raise ToolError(
                    f"the header {name!r} of {self.name!r} has characters that no header may have. "
                    f"Check mcp.servers.{self.name}.headers and its variables."
                )
        return headers

    def expanded(self, value: str) -> str:
        """Return a value with its references to the environment replaced.

        :param value: text with `${NAME}` or `${NAME:-default}`.
        :raises ToolError: if a variable is not set and has no default.
        """
        return _expanded(value, self.name, os.environ)


def why_off(name: str, config: McpServerConfig) -> str | None:
    """Return why a server cannot be used with its settings, or None.

    :param name: its name.
    :param config: its settings.
    """
    if (config.command is None) == (config.url is None):
        both = "both a command and a url" if config.url else "neither a command nor a url"
        return f"mcp.servers.{name} has {both}: give it one of them."
    return None


def _expanded(value: str, server: str, environ: Mapping[str, str]) -> str:
    def replaced(match: re.Match[str]) -> str:
        found = environ.get(match[1]) or match[2]
        if found is None:
            raise ToolError(
                f"the server {server!r} needs the environment variable {match[1]!r}, which is not "
                f"set. Set it, or change mcp.servers.{server}."
            )
        return found

    return _REFERENCE.sub(replaced, value)


def _matches(tool: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(tool, pattern) for pattern in patterns)
