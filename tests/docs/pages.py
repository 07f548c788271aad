"""Read the pages of the documentation, and run their code as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    """Return the text of a page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def block(text: str, language: str) -> str:
    """Return the only code block of a page in one language."""
    (code,) = blocks(text, language)
    return code


def section(text: str, heading: str) -> str:
    """Return the text between a heading, or any other line, and the next heading."""
    return text.partition(heading)[2].partition("\n#")[0]


def first_column(table: str) -> set[str]:
    """Return the words in code type in the first column of the tables in a text."""
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([\w ]+)", cell)}


def run_python(
    *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter for a user without any configuration or key.

    `variables` extend the environment; data is kept in `cwd`.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**kept, "VANTA_DATA_DIR": str(cwd / "data"), **(variables or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
