"""The page on templates is true: its template works and its commands run."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.cli.as_user import Run
from tests.docs.pages import block, page, section
from tests.trusted import trust
from vanta.installation import templates_dir
from vanta.prompts import RenderLimits
from vanta.prompts.front_matter import FIELDS, SAMPLING

BUILTIN = {f"{path.parent.name}/{path.stem}" for path in templates_dir().glob("*/[!_]*.j2")}
PAGE = page("docs/templates.md")


def test_every_built_in_template_is_listed() -> None:
    table = section(PAGE, "## What comes with vanta")
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+/\w+)`", row[:120])}
    assert named - {"system/_base"} == BUILTIN


def test_the_template_works_in_a_configured_project(vanta: Run, tmp_path: Path) -> None:
    path = tmp_path / ".vanta" / "templates" / "system" / "shop.j2"
    path.parent.mkdir(parents=True)
    path.write_text(block(PAGE, "jinja"), encoding="utf-8")
    (tmp_path / "vanta.toml").write_text(block(PAGE, "toml"), encoding="utf-8")
    assert tomllib.loads(block(PAGE, "toml"))["system"] == "shop"
    trust(tmp_path)
    done = vanta("templates", "check", "system/shop")
    assert done.code == 0, done.text
    done = vanta("templates", "render", "system/shop")
    assert done.out.startswith("You are Vanta, the assistant of Ada's Books.\nBe brief and kind.\n")
    assert "Open on Monday: 9 to 18.\n" in done.out
    assert (
        "shop (in use) Answers for the shop's customers. project" in vanta("templates", "list").text
    )


def test_every_command_works(
    vanta: Run, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__MODEL", str(smollm2_path))
    for line in block(PAGE, "console").splitlines():
        done = vanta(*shlex.split(line.removeprefix("$ vanta ")))
        assert done.code == 0, (line, done.text)


def test_all_fields_and_limits_are_documented() -> None:
    table = section(PAGE, "## Front matter")
    assert {*FIELDS, *SAMPLING} <= set(re.findall(r"`(\w+)`", table))
    limits = RenderLimits()
    sentence = (
        f"{limits.steps:,} steps, {limits.seconds:g} seconds and {limits.characters:,} characters"
    )
    assert sentence in " ".join(PAGE.split())
