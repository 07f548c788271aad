"""The demo of two tracks."""

from vanta.cli.demo.app import app

__all__ = ["app"]
