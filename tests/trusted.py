"""Trusting a folder, as `vanta trust` does."""

from __future__ import annotations

from pathlib import Path

from vanta.config import add_trust, find_project


def trust(folder: Path) -> Path:
    """Trust the project in a folder as it is now; return the folder."""
    project = find_project(folder)
    assert project is not None
    add_trust(project.as_trusted())
    return folder
