"""The README is true: its code runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vanta.config import load
from vanta.scheduling import BUILTIN

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def environment(model: Path, home: Path) -> dict[str, str]:
    """A user's environment with the model on disk, nothing configured and no key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    # The small model rambles: a bound keeps the examples quick on a busy machine.
    return {
        **kept,
        "VANTA_DATA_DIR": str(home),
        "VANTA_TRACKS__LOCAL__MODEL": str(model),
        "VANTA_TRACKS__LOCAL__SAMPLING__MAX_TOKENS": "24",
    }


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_runs(number: int, smollm2_path: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", blocks("python")[number]],
        env=environment(smollm2_path, tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_script_runs_and_holds(smollm2_path: Path, tmp_path: Path) -> None:
    (script,) = blocks("yaml")
    (tmp_path / "hello.yaml").write_text(script, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "vanta.cli", "run", "hello.yaml"],
        env=environment(smollm2_path, tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_all_of_the_configuration_fits_the_schema(tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text("\n".join(blocks("toml")), encoding="utf-8")
    config = load(tmp_path / "vanta.toml", environ={}).config
    assert (config.policy, config.deadline_s, config.budget.day_usd) == ("hedge", 30, 2.0)


def test_the_commands_exist() -> None:
    commands = set(re.findall(r"^vanta ([a-z]+)", "\n".join(blocks("sh")), re.MULTILINE))
    ran = subprocess.run(
        [sys.executable, "-m", "vanta.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert commands
    assert all(re.search(rf"\b{command}\b", ran.stdout) for command in commands)


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^make ([a-z]+)", "\n".join(blocks("sh")), re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_built_in_policy_is_explained() -> None:
    table = README.split("### Policies")[1].split("```")[0]
    assert all(f"`{policy.name}`" in table for policy in BUILTIN)
