"""`vanta scripts`: begin, check, describe, report; and a chat that becomes a script."""

from __future__ import annotations

import json

from tests.cli.stage import Stage


def test_a_new_script_is_right_and_is_not_overwritten(stage: Stage) -> None:
    assert stage.vanta("scripts", "new", "mine.yaml").returncode == 0
    done = stage.vanta("scripts", "check", "mine.yaml")
    assert (done.returncode, "1 of 1 scripts are valid" in done.stderr) == (0, True)
    assert stage.vanta("scripts", "new", "mine.yaml").returncode == 2


def test_what_is_wrong_is_said_with_its_place(stage: Stage) -> None:
    (stage.folder / "s").mkdir()
    (stage.folder / "s" / "bad.yaml").write_text("name: n\nturnes: []\n")
    (stage.folder / "s" / "good.yaml").write_text("name: n\nturns: [{say: a}]\n")
    done = stage.vanta("scripts", "check", "s")
    assert done.returncode == 2
    assert "bad.yaml:2:1: unknown field 'turnes'" in done.stdout
    told = json.loads(stage.vanta("scripts", "check", "s", "--json").stdout)
    assert (told["checked"], len(told["faults"])) == (2, 1)


def test_a_document_that_is_not_there_is_said(stage: Stage) -> None:
    text = "name: n\nfixtures: {documents: [no.md]}\nturns: [{say: a}]\n"
    (stage.folder / "a.yaml").write_text(text)
    done = stage.vanta("scripts", "check", "a.yaml")
    assert done.returncode == 2
    assert "there is no document 'no.md' in 'fixtures'" in done.stdout
    done = stage.vanta("run", "a.yaml")
    assert (done.returncode, "there is no document 'no.md'" in done.stderr) == (2, True)


def test_the_schema_is_printed(stage: Stage) -> None:
    schema = json.loads(stage.vanta("scripts", "schema").stdout)
    assert "turns" in schema["properties"]


def test_a_saved_run_is_written_in_other_forms(stage: Stage) -> None:
    (stage.folder / "a.yaml").write_text("name: n\nturns: [{say: echo x}]\n")
    (stage.folder / "run.json").write_text(stage.vanta("run", "a.yaml", "--json").stdout)
    argv = ["--html", "a.html", "--junit", "a.xml", "--against", "run.json"]
    done = stage.vanta("scripts", "report", "run.json", *argv, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "n: 1 of 1 runs passed" in done.stdout
    assert "passed turns" in done.stdout
    assert (stage.folder / "a.html").read_text().startswith("<!doctype html>")
    assert "<testsuites" in (stage.folder / "a.xml").read_text()


def test_a_chat_becomes_a_script_that_holds(stage: Stage) -> None:
    done = stage.vanta("chat", "--save", "talk.yaml", stdin="echo one\n/stats\necho two: three\n")
    assert "saved as talk.yaml" in done.stderr, done.stderr
    run = stage.vanta("run", "talk.yaml")
    assert run.returncode == 0, run.stdout
    assert "talk: 2 of 2 turns passed" in run.stdout
