"""The page on memory is true: its commands and its program run, its tables are whole."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tests.cli.as_user import Run, user
from vanta.config import load
from vanta.config.schema import MemoryConfig
from vanta.memory import ItemKind, MemoryItem
from vanta.memory.search import HYBRID_WEIGHTS, LEXICAL_WEIGHTS
from vanta_embedders import vanta_embedders

PAGE = (Path(__file__).parents[2] / "docs" / "memory.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def words_of(heading: str) -> set[str]:
    """The words in code type of a table's first column."""
    rows = re.findall(
        r"^\| (`.*?) \|", PAGE.partition(heading)[2].partition("\n\n#")[0], re.MULTILINE
    )
    return {word for row in rows for word in re.findall(r"`([\w ]+)`", row)}


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


def test_every_command_works(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "handbook.md").write_text("# Holidays\n\nA holiday lasts thirty days.\n")
    commands = [
        shlex.split(line.removeprefix("$ vanta ")) for line in block("console").splitlines()
    ]
    for argv in commands:
        if argv[1] == "reindex":  # this user has no embedder
            assert "vanta models pull all-minilm-l6-v2" in vanta(*argv).text
            continue
        done = vanta(*argv)
        assert done.code == 0, (argv, done.text)
    assert {argv[1] for argv in commands} == set(_commands())


def test_every_command_is_explained() -> None:
    told = PAGE.partition("## From the shell")[2].partition("## ")[0]
    assert all(re.search(rf"(\*\*`|memory ){name}\b", told) for name in _commands())


def _commands() -> list[str]:
    from vanta.cli.memory.app import app

    found = [
        each.name or (each.callback and each.callback.__name__) for each in app.registered_commands
    ]
    return [str(name) for name in found]


def test_the_program_runs(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    ran = subprocess.run(
        [sys.executable, "-c", block("python")],
        env={**kept, "VANTA_DATA_DIR": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, last = ran.stdout.splitlines()
    assert "Ada's train leaves at nine." in first
    assert last == "1 True"


def test_the_configuration_fits(tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text(block("toml"), encoding="utf-8")
    assert load(tmp_path / "vanta.toml", environ={}).config.memory.share == 0.3


def test_the_tables_are_whole() -> None:
    assert words_of("The parts of a score are") >= set(HYBRID_WEIGHTS) | set(LEXICAL_WEIGHTS)
    line = words_of("A line of an export is an object:")
    assert set(MemoryItem.__dataclass_fields__) <= line
    assert all(f"`{kind}`" in PAGE for kind in get_args(ItemKind))
    assert words_of("```toml") >= set(MemoryConfig.model_fields)
    assert words_of("## By meaning") >= {
        factory.name for factory in vanta_embedders() if factory.rank > 0
    }
