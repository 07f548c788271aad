"""`vanta run`: a verdict a turn, and exit codes that a build can trust."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.stage import Stage

GOOD = """
name: good
turns:
  - say: echo Paris it is
    expect: {contains: Paris, track: local}
  - say: echo nothing else
    expect: {not_contains: Paris}
"""
BAD = """
name: bad
turns:
  - say: echo London
    expect: {contains: Paris}
  - say: echo Paris
    expect: {contains: Paris}
"""


def _script(stage: Stage, name: str, text: str) -> str:
    path = Path(stage.folder / name)
    path.write_text(text)
    return str(path)


def test_every_turn_has_a_verdict_and_all_passing_is_zero(stage: Stage) -> None:
    done = stage.vanta("run", _script(stage, "good.yaml", GOOD))
    assert done.returncode == 0
    assert done.stdout.count("✓") == 2
    assert "good: 2 of 2 turns passed" in done.stdout


def test_a_failure_says_what_was_expected_and_what_came_and_the_rest_still_runs(
    stage: Stage,
) -> None:
    good, bad = _script(stage, "good.yaml", GOOD), _script(stage, "bad.yaml", BAD)
    done = stage.vanta("run", bad, good)
    assert done.returncode == 1
    assert "'Paris'" in done.stdout
    assert "'London'" in done.stdout
    assert (done.stdout.count("✓"), done.stdout.count("✗")) == (3, 1)
    assert "bad: 1 of 2 turns passed" in done.stdout


def test_json_has_every_verdict_and_reply(stage: Stage) -> None:
    done = stage.vanta("run", "--json", _script(stage, "bad.yaml", BAD))
    told = json.loads(done.stdout)
    assert (done.returncode, told["passed"]) == (1, False)
    [script] = told["scripts"]
    assert [turn["passed"] for turn in script["turns"]] == [False, True]
    assert script["turns"][0]["reply"]["text"] == "London"


def test_a_track_on_the_command_line_goes_before_the_scripts_own(stage: Stage) -> None:
    script = _script(stage, "bad.yaml", BAD)
    told = json.loads(stage.vanta("run", "--json", "--track", "api", script).stdout)
    tracks = {turn["reply"]["track"] for turn in told["scripts"][0]["turns"]}
    assert tracks == {"api"}


def test_an_unknown_field_is_a_usage_error_with_its_place_and_no_turn_runs(stage: Stage) -> None:
    wrong = _script(stage, "wrong.yaml", "name: x\nturns:\n  - say: echo x\n    expct: {}\n")
    good = _script(stage, "good.yaml", GOOD)
    done = stage.vanta("run", good, wrong)
    assert done.returncode == 2
    assert "wrong.yaml:4" in done.stderr
    assert "Did you mean 'expect'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_script_that_is_not_there_is_a_usage_error(stage: Stage) -> None:
    done = stage.vanta("run", "none.yaml")
    assert done.returncode == 2
    assert "none.yaml" in done.stderr


def test_a_policy_that_does_not_exist_is_named_before_any_turn_runs(stage: Stage) -> None:
    script = _script(stage, "good.yaml", GOOD.replace("name: good", "name: good\npolicy: rcae"))
    done = stage.vanta("run", script)
    assert done.returncode == 2
    assert "Did you mean 'race'?" in done.stderr
    assert done.stdout == ""


def test_a_store_that_cannot_be_opened_is_three_for_nothing_could_be_run(stage: Stage) -> None:
    taken = stage.folder / "taken"
    taken.write_text("")
    done = stage.vanta("run", _script(stage, "good.yaml", GOOD), VANTA_DATA_DIR=str(taken))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
