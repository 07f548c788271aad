"""docs/typed.md: its examples run, and type as they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import page
from tests.runtime.home import open_scripted
from vanta.runtime.turns.typed import ANSWER
from vanta.testing import Say, ScriptedEngine

PAGE = page("docs/typed.md")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names() -> dict[str, Any]:
    """Return the names that the page defines."""
    defined: dict[str, Any] = {}
    exec(compile("\n".join(BLOCKS), "docs/typed.md", "exec"), defined)  # noqa: S102
    return defined


@pytest.mark.anyio
async def test_the_examples_run(
    names: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine(Say('{"name": "Ro'), Say('me"'), Say(', "people": 2748109}'))
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        assert await names["largest"](runtime) == names["City"](name="Rome", people=2748109)
        await names["watch"](runtime)
    shown = capsys.readouterr().out.splitlines()
    expected = re.search(r"print\(value\)  # (.*)", PAGE)
    assert expected is not None
    assert ", ".join(shown[:-1]) == expected[1]
    assert shown[-1] == "2748109"


def test_the_page_names_the_field_around_plain_values() -> None:
    assert f"the field `{ANSWER}` of one" in PAGE
