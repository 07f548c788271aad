"""The commands of `vanta templates`."""

from vanta.cli.templates.app import app

__all__ = ["app"]
