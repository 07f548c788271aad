"""The server: a runtime behind the protocols that people's tools already speak.

    vanta serve

Invariant: importing this plugin, or calling its hooks, imports no server library. What a client
sends chooses a track, a policy and sampling; it never configures the runtime.
"""

from __future__ import annotations

from vanta import hookimpl
from vanta.cli import Command

__all__ = ["vanta_commands"]


@hookimpl
def vanta_commands() -> dict[str, Command]:
    """Return the commands `serve` and `keys`."""
    return {
        "serve": Command(
            "Serve the runtime over HTTP, to every client of OpenAI, Anthropic or Ollama.",
            "vanta_server.commands:app",
        ),
        "keys": Command(
            "Create, list and revoke the server's keys.", "vanta_server.keys.key_commands:app"
        ),
    }
