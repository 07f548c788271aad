"""Packages of npm for tests, at pinned versions, in a cache folder of their own.

Where node or npm is missing, or nothing can be fetched, tests are skipped with the reason; with CI
in the environment that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "@modelcontextprotocol/conformance": "0.1.13",  # later ones need Node 22
}
CACHE = Path.home() / ".cache" / "vanta-tests" / "npm"


def npm_package(name: str) -> Path:
    """Return the folder of a package; install it first if it is not there."""
    folder = CACHE / f"{name.rpartition('/')[2]}-{PACKAGES[name]}"
    package = folder / "node_modules" / name
    if not shutil.which("node") or not shutil.which("npm"):
        _leave_out("node and npm are not installed: apt-get install nodejs npm")
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        line = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            [*line, "--prefix", str(folder), f"{name}@{PACKAGES[name]}"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if done.returncode != 0:
            _leave_out(f"npm cannot install {name}: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return package


def _leave_out(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
