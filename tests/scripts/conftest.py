"""The fixtures of the tests of `vanta run` and `vanta scripts`."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.as_user import user
from tests.cli.stage import Stage, set_up
from vanta.cli import main


@dataclass(frozen=True, slots=True)
class StageInThisProcess(Stage):
    """A stage whose commands run in this process: a process costs seconds, and is not the subject.

    A test that needs one (a signal, say) starts `COMMAND` in `environ`.
    """

    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def vanta(
        self, *argv: str, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `vanta ARGV` with text as its input."""
        sys.modules.pop("stage_plugin", None)  # it reads the environment when it is imported
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            for name, value in {**self.environ, **environ}.items():
                if name != "PYTHONPATH":
                    patch.setenv(name, value)
            if "COLUMNS" not in environ:
                patch.delenv("COLUMNS", raising=False)
            self.capfd.readouterr()
            code = main(argv)
            return subprocess.CompletedProcess(argv, code, *self.capfd.readouterr())


@pytest.fixture
def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    """A plugin on disk, a configuration and an empty data directory."""
    set_up(tmp_path)
    with user(tmp_path, monkeypatch, capfd):
        monkeypatch.syspath_prepend(str(tmp_path))
        yield StageInThisProcess(tmp_path, monkeypatch, capfd)
    sys.modules.pop("stage_plugin", None)
