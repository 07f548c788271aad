"""The README is true: its code runs, its commands exist, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, block, blocks, page, run_python
from vanta.config import load
from vanta.scheduling import BUILTIN

README = page("README.md")


def local(model: Path) -> dict[str, str]:
    """Return the environment for a local model, whose long answers are cut to save time."""
    return {
        "VANTA_TRACKS__LOCAL__MODEL": str(model),
        "VANTA_TRACKS__LOCAL__SAMPLING__MAX_TOKENS": "24",
    }


@pytest.mark.parametrize("number", range(len(blocks(README, "python"))))
def test_the_python_runs(number: int, smollm2_path: Path, tmp_path: Path) -> None:
    code = blocks(README, "python")[number]
    ran = run_python("-c", code, cwd=tmp_path, variables=local(smollm2_path))
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_script_runs_and_its_expectations_hold(smollm2_path: Path, tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(block(README, "yaml"), encoding="utf-8")
    arguments = ("-m", "vanta", "run", "hello.yaml")
    ran = run_python(*arguments, cwd=tmp_path, variables=local(smollm2_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_configuration_fits_the_schema(tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text("\n".join(blocks(README, "toml")), encoding="utf-8")
    config = load(tmp_path / "vanta.toml", environ={}).config
    assert (config.policy, config.deadline_s, config.budget.day_usd) == ("hedge", 30, 2.0)


def test_the_commands_exist(tmp_path: Path) -> None:
    commands = set(re.findall(r"^vanta ([a-z]+)", "\n".join(blocks(README, "sh")), re.MULTILINE))
    ran = run_python("-m", "vanta", "--help", cwd=tmp_path)
    assert commands
    assert all(re.search(rf"\b{command}\b", ran.stdout) for command in commands)


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^make ([a-z]+)", "\n".join(blocks(README, "sh")), re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_table_of_figures_names_the_commit_it_was_taken_at() -> None:
    before, *tables = README.split("## Figures")[1].split("\n| figure |")
    introductions = [before, *(table.split("\n\n", 1)[1] for table in tables[:-1])]
    assert len(introductions) >= 2
    for text in introductions:
        last = text.strip().split("\n\n")[-1]
        assert re.search(r"taken at commit [0-9a-f]{7,40}\b", " ".join(last.split())), last


def test_every_built_in_policy_is_explained() -> None:
    table = README.split("### Policies")[1].split("```")[0]
    assert all(f"`{policy.name}`" in table for policy in BUILTIN)
