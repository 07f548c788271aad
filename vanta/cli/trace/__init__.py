"""The commands of `vanta trace`."""

from vanta.cli.trace.app import app

__all__ = ["app"]
