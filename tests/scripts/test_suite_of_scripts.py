"""The project's own scripts: pytest collects those in `suite`; these tests check the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.suite.stage import opening
from vanta_scripts import BUILTIN, load_script, run_script

SUITE = Path(__file__).parent / "suite"
FAILING = sorted((SUITE / "failing").glob("*.yaml"))


def test_the_suite_is_large_and_its_names_are_unique() -> None:
    names = [load_script(path).name for path in SUITE.rglob("*.yaml")]
    assert len(list(SUITE.rglob("*.vanta.yaml"))) >= 40
    assert len(set(names)) == len(names)


def test_every_expectation_holds_in_a_script_and_fails_in_one() -> None:
    held = {
        name
        for path in SUITE.glob("*.vanta.yaml")
        for turn in load_script(path).turns
        for name in turn.expect
    }
    assert held == set(BUILTIN)
    assert {path.stem for path in FAILING} == set(BUILTIN)


@pytest.mark.anyio
@pytest.mark.parametrize("path", FAILING, ids=lambda path: path.stem)
async def test_a_failing_script_fails_with_its_message(path: Path, tmp_path: Path) -> None:
    script = load_script(path)
    async with opening(tmp_path)() as runtime:
        result = await run_script(runtime, script)
    (turn,) = result.turns
    assert [failure.expectation for failure in turn.failures] == [path.stem]
    assert script.description in turn.describe()
