"""The page on memory is true: its commands and its program run, its tables are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

from tests.cli.as_user import Run
from tests.docs.pages import block, page, run_python
from vanta.config import load
from vanta.config.schema import MemoryConfig
from vanta.memory import ItemKind, MemoryItem
from vanta.memory.search import HYBRID_WEIGHTS, LEXICAL_WEIGHTS
from vanta_embedders import vanta_embedders

PAGE = page("docs/memory.md")


def words_of(heading: str) -> set[str]:
    """The words in code type of a table's first column."""
    rows = re.findall(
        r"^\| (`.*?) \|", PAGE.partition(heading)[2].partition("\n\n#")[0], re.MULTILINE
    )
    return {word for row in rows for word in re.findall(r"`([\w ]+)`", row)}


def test_every_command_works(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "handbook.md").write_text("# Holidays\n\nA holiday lasts thirty days.\n")
    commands = [
        shlex.split(line.removeprefix("$ vanta ")) for line in block(PAGE, "console").splitlines()
    ]
    for argv in commands:
        if argv[1] == "reindex":  # this user has no embedder
            assert "vanta models pull all-minilm-l6-v2" in vanta(*argv).text
            continue
        done = vanta(*argv)
        assert done.code == 0, (argv, done.text)
    assert {argv[1] for argv in commands} == set(_commands())


def test_every_command_is_explained() -> None:
    text = PAGE.partition("## From the shell")[2].partition("## ")[0]
    assert all(re.search(rf"(\*\*`|memory ){name}\b", text) for name in _commands())


def _commands() -> list[str]:
    from vanta.cli.memory.app import app

    return [
        str(command.name or (command.callback and command.callback.__name__))
        for command in app.registered_commands
    ]


def test_the_program_runs(tmp_path: Path) -> None:
    ran = run_python("-c", block(PAGE, "python"), cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    first, last = ran.stdout.splitlines()
    assert "Ada's train leaves at nine." in first
    assert last == "1 True"


def test_the_configuration_fits(tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text(block(PAGE, "toml"), encoding="utf-8")
    assert load(tmp_path / "vanta.toml", environ={}).config.memory.share == 0.3


def test_the_tables_are_complete() -> None:
    assert words_of("The parts of a score are") >= set(HYBRID_WEIGHTS) | set(LEXICAL_WEIGHTS)
    line = words_of("A line of an export is an object:")
    assert set(MemoryItem.__dataclass_fields__) <= line
    assert all(f"`{kind}`" in PAGE for kind in get_args(ItemKind))
    assert words_of("```toml") >= set(MemoryConfig.model_fields)
    assert words_of("## By meaning") >= {
        factory.name for factory in vanta_embedders() if factory.rank > 0
    }
