"""Where the data that ships with vanta lies: templates, ready configurations, benchmarks.

Invariant: what an installed wheel carries (`vanta/_data/NAME`) and what a checkout has at its top
(`NAME/`) are the same folders, so that both are used the same way.
"""

from __future__ import annotations

from pathlib import Path

from vanta.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent


def templates_dir() -> Path:
    """The prompt templates; raises UsageError for a broken installation."""
    return _find("templates")


def configs_dir() -> Path:
    """The ready configurations and the model registry; raises UsageError likewise."""
    return _find("configs")


def benchmarks_dir() -> Path:
    """What `vanta bench` runs; raises UsageError likewise."""
    return _find("benchmarks")


def _find(name: str) -> Path:
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise UsageError(
        f"vanta's folder {name!r} is neither in {_PACKAGE / '_data'} nor in {_PACKAGE.parent}. "
        "The installation is incomplete: install vanta again."
    )
