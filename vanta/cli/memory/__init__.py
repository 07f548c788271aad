"""The commands of `vanta memory`."""

from vanta.cli.memory.app import app

__all__ = ["app"]
