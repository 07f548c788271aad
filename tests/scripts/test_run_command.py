"""`vanta run`: a verdict a turn, and exit codes that a build can trust."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.cli.stage import COMMAND, Stage

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


def test_a_folder_of_scripts_is_narrowed_by_words_and_tags(stage: Stage) -> None:
    folder = stage.folder / "scripts"
    folder.mkdir()
    _script(stage, "scripts/good.yaml", GOOD)
    _script(stage, "scripts/bad.yaml", BAD.replace("name: bad", "name: bad\ntags: [smoke]"))
    told = json.loads(stage.vanta("run", "--json", str(folder), "-k", "not bad").stdout)
    assert [one["title"] for one in told["outcomes"]] == ["good"]
    told = json.loads(stage.vanta("run", "--json", str(folder), "--tag", "smoke").stdout)
    assert [one["title"] for one in told["outcomes"]] == ["bad"]
    assert stage.vanta("run", str(folder), "-k", "neither").returncode == 2
    assert stage.vanta("run", str(folder), "-k", "a or").returncode == 2


def test_what_failed_is_run_again_alone(stage: Stage) -> None:
    good, bad = _script(stage, "good.yaml", GOOD), _script(stage, "bad.yaml", BAD)
    assert stage.vanta("run", good, bad, "-n", "2").returncode == 1
    told = json.loads(stage.vanta("run", "--json", "--last-failed", good, bad).stdout)
    assert [one["title"] for one in told["outcomes"]] == ["bad"]


def test_a_restart_keeps_the_conversation(stage: Stage) -> None:
    text = "name: kept\nturns:\n- say: echo one\n- {say: echo two, restart: true}\n"
    done = stage.vanta("run", _script(stage, "kept.yaml", text))
    assert done.returncode == 0, done.stderr
    assert "kept: 2 of 2 turns passed" in done.stdout


def test_a_failed_turn_is_shown_with_how_it_went(stage: Stage) -> None:
    done = stage.vanta("run", _script(stage, "bad.yaml", BAD), COLUMNS="100")
    assert "▶" in done.stdout


def test_files_of_a_report_are_written(stage: Stage) -> None:
    xml = stage.folder / "out.xml"
    done = stage.vanta("run", _script(stage, "bad.yaml", BAD), "--junit", str(xml))
    assert done.returncode == 1
    assert '<testsuites name="vanta run"' in xml.read_text()
    assert stage.vanta("run", str(stage.folder / "bad.yaml"), "--junit", "/no/x").returncode == 2


def test_update_rewrites_what_is_not_equal(stage: Stage) -> None:
    text = "name: snap\nturns:\n- say: echo new\n  expect: {equals: old}\n"
    path = _script(stage, "snap.yaml", text)
    done = stage.vanta("run", path, "--update")
    assert "updated" in done.stderr
    assert Path(path).read_text() == text.replace("old", '"new"')
    assert stage.vanta("run", path).returncode == 0


def test_money_that_is_spent_ends_the_run_with_three(stage: Stage) -> None:
    path = _script(stage, "dear.yaml", "name: dear\nturns:\n- say: a\n- say: b\n")
    done = stage.vanta("run", "--track", "api", "--max-cost", "0.000001", path)
    assert done.returncode == 3
    assert "was spent" in done.stderr
    assert "dear: 1 of 1 turns passed" in done.stdout


def test_ctrl_c_leaves_a_report_of_what_was_run(stage: Stage) -> None:
    text = f"name: long\nturns:\n- say: echo one\n- say: hold {stage.folder}/never\n"
    path = _script(stage, "long.yaml", text)
    with subprocess.Popen(
        [*COMMAND, "run", "--json", path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=stage.folder,
        env=stage.environ,
    ) as process:
        stage.wait_for("holding")
        process.send_signal(signal.SIGINT)
        told = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 130
    assert told["stopped"] == "interrupted"
    assert [turn["reply"]["text"] for turn in told["scripts"][0]["turns"]] == ["one"]


def test_a_recorded_run_plays_without_its_engine(stage: Stage) -> None:
    tape, page = stage.folder / "tape.json", stage.folder / "page.html"
    path = _script(stage, "good.yaml", GOOD)
    done = stage.vanta("run", path, "--record", str(tape), "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert page.read_text().startswith("<!doctype html>")
    asked = len(stage.happened())
    again = stage.vanta("run", path, "--replay", str(tape), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["scripts"][0]["turns"][0]["reply"]["text"] == "Paris it is"
    assert len(stage.happened()) == asked
    assert stage.vanta("run", path, "--replay", "x", "--record", "y").returncode == 2


def test_two_runs_are_compared(stage: Stage) -> None:
    path = _script(stage, "good.yaml", GOOD)
    before = stage.folder / "before.json"
    before.write_text(stage.vanta("run", path, "--json").stdout)
    done = stage.vanta("run", path, "--against", str(before), COLUMNS="100")
    assert "turns won by local" in done.stdout
    before.write_text("[]")
    done = stage.vanta("run", path, "--against", str(before), COLUMNS="300")
    assert (done.returncode, "is not a report" in done.stderr) == (2, True)
