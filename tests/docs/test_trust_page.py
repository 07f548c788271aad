"""The page on trust: its table is generated from the rules, its example is what happens."""

from __future__ import annotations

from pathlib import Path

from tests.house.source import ROOT, script
from vanta.config import RULES

PAGE = ROOT.joinpath("docs", "trust.md").read_text("utf-8")


def test_the_table_is_generated_from_the_rules() -> None:
    builder = script("build_trust")
    assert builder.page(PAGE) == PAGE, "run `make docs`"
    assert all(f"| `{'.'.join(rule.pattern)}` |" in PAGE for rule in RULES)


def test_the_page_is_linked() -> None:
    for page in ("README.md", "docs/templates.md"):
        assert "trust.md" in ROOT.joinpath(Path(page)).read_text("utf-8")
