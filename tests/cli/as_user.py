"""Running `vanta` as a person does: arguments in, exit code and both streams out."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vanta.cli import main


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)

    @property
    def text(self) -> str:
        """Both streams with every run of white space as one blank: tables break lines."""
        return " ".join((self.out + " " + self.err).split())


Run = Callable[..., Done]


@contextmanager
def user(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Run]:
    """A way to run `vanta` for a user who has nothing but `home`."""
    monkeypatch.chdir(home)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "VANTA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VANTA_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    monkeypatch.setenv("COLUMNS", "200")
    logger = logging.getLogger("vanta")
    handlers, propagate = list(logger.handlers), logger.propagate

    def run(*argv: str) -> Done:
        capfd.readouterr()
        code = main(argv)
        return Done(code, *capfd.readouterr())

    try:
        yield run
    finally:
        logger.handlers, logger.propagate = handlers, propagate


def install(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a stranger's plugin `name`, as pip would leave it: a module and its metadata."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"vanta_{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vanta-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[vanta]\n{name} = {name}\n")
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(folder))
