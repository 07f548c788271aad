"""A conversation in the terminal."""

from vanta.cli.chat.app import app

__all__ = ["app"]
