"""The wheel as users get it, built once, without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BuildWheel = Callable[[Path, Path], Path]


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; its whole output is the failure where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def build_wheel(source: Path, into: Path) -> Path:
    """The wheel of the distribution in `source`."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir")
    run(*pip, "wheel", *options, "--wheel-dir", into, source, cwd=into)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def vanta_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vanta's own wheel, built from the checkout."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("vanta-wheel"))
