"""`vanta ask`, run as a user runs it: what goes where, and what every mistake says."""

from __future__ import annotations

import json
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.cli.stage import COMMAND, Stage
from tests.pictures import png_bytes
from vanta.testing import Behaviour, Upstream, nothing_listens


def test_stdout_has_the_text_of_the_reply_and_nothing_else(stage: Stage) -> None:
    done = stage.vanta("ask", "echo", "good", "day")
    assert (done.returncode, done.stdout, done.stderr) == (0, "good day\n", "")


def test_the_question_may_be_piped_in(stage: Stage) -> None:
    assert stage.vanta("ask", stdin="echo from a pipe\n").stdout == "from a pipe\n"


def test_a_dash_stands_for_what_is_piped_in(stage: Stage) -> None:
    done = stage.vanta("ask", "echo summarise:", "-", stdin="a long text\n")
    assert done.stdout == "summarise:\n\na long text\n"


def test_images_are_shown_to_a_model_that_sees(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE_SEES", "1")
    files = [stage.folder / "a.png", stage.folder / "b.png"]
    for size, file in enumerate(files, 1):
        file.write_bytes(png_bytes(size, size))
    done = stage.vanta("ask", "--image", str(files[0]), "--image", str(files[1]), "see", "two ")
    assert done.stdout == "two image/png (1, 1) image/png (2, 2)\n"


def test_a_blind_model_and_a_file_that_is_not_an_image_are_errors(stage: Stage) -> None:
    (stage.folder / "a.png").write_bytes(png_bytes())
    (stage.folder / "b.png").write_text("no image")
    blind = stage.vanta("ask", "--image", str(stage.folder / "a.png"), "see")
    wrong = stage.vanta("ask", "--image", str(stage.folder / "b.png"), "see")
    assert "'stage-1' cannot see" in " ".join(blind.stderr.split())
    assert "the image is not one" in " ".join(wrong.stderr.split())
    assert (blind.stdout, wrong.stdout) == ("", "")
    assert 0 not in (blind.returncode, wrong.returncode)


@pytest.mark.parametrize("stdin", ["", " \n"])
def test_an_empty_question_is_a_usage_error(stage: Stage, stdin: str) -> None:
    done = stage.vanta("ask", stdin=stdin)
    assert done.returncode == 2
    assert "the question is empty" in done.stderr


def test_json_is_the_reply_as_one_object(stage: Stage) -> None:
    reply = json.loads(stage.vanta("ask", "--json", "--track", "api", "x").stdout)
    assert (reply["text"], reply["track"], reply["model"]) == ("the api answers", "api", "stage-2")
    assert reply["usage"]["output_tokens"] == 3
    assert reply["cost_usd"] == pytest.approx(3e-6)
    assert reply["timings"]["duration_s"] > 0
    assert [leg["state"] for leg in reply["trace"]["legs"]] == ["won"]


def test_verbose_shows_on_stderr_which_track_answers(stage: Stage) -> None:
    done = stage.vanta("ask", "-v", "echo hello")
    assert done.stdout == "hello\n"
    assert "local answers" in done.stderr
    assert "local (stage-1)" in done.stderr


def test_reasoning_is_shown_on_request_and_never_on_stdout(stage: Stage) -> None:
    plain, shown = stage.vanta("ask", "think yes"), stage.vanta("ask", "--reasoning", "think yes")
    assert (plain.stdout, plain.stderr) == ("yes\n", "")
    assert (shown.stdout, shown.stderr.count("\n")) == ("yes\n", 1)
    assert shown.stderr.startswith("Well. A ")
    assert "\x1b" not in shown.stderr


def test_a_takeover_keeps_stdout_whole_and_is_shown_on_stderr(stage: Stage) -> None:
    done = stage.vanta("ask", "-v", "--policy", "cascade", "fail network")
    assert done.stdout == "the api answers\n"
    assert "local failed: network" in done.stderr


def test_a_session_goes_on_where_it_was(stage: Stage) -> None:
    def ask(*argv: str) -> Any:
        done = stage.vanta("ask", "--json", *argv, VANTA_MEMORY__ENABLED="false")
        return json.loads(done.stdout)

    first = ask("-s", "ada", "echo one")
    second = ask("-s", "ada", "echo two")
    fresh = ask("echo two")
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    assert fresh["usage"]["input_tokens"] == first["usage"]["input_tokens"]


def test_a_private_question_stays_off_tracks_that_are_not_private(stage: Stage) -> None:
    done = stage.vanta("ask", "--private", "echo x")
    assert done.returncode == 2
    assert "private" in done.stderr
    assert stage.happened() == []


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--track", "locl"], "Did you mean 'local'?"),
        (["--policy", "rcae"], "Did you mean 'race'?"),
        (["--track", "local", "--policy", "race"], "exclude each other"),
        (["--deadline", "0"], "must be greater than 0 seconds"),
        (["--deadline", "nan"], "must be greater than 0 seconds"),
        (["--deadline", "inf"], "must be greater than 0 seconds"),
        (["--deadline", "soon"], "'soon' is not a number"),
        (["--nosuch"], "No such option"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(stage: Stage, argv: list[str], expected: str) -> None:
    done = stage.vanta("ask", *argv, "echo x")
    assert done.returncode == 2
    assert expected in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('deadline_s = "soon"', "deadline_s"),
        ("deadlin_s = 3", "Did you mean 'deadline_s'?"),
        ("deadline_s = ", "stage.toml"),
    ],
)
def test_a_wrong_configuration_names_file_and_key(stage: Stage, line: str, expected: str) -> None:
    stage.config.write_text(f"{line}\n")
    done = stage.vanta("ask", "echo x")
    assert done.returncode == 2
    assert expected in done.stderr
    assert "stage.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_when_every_track_fails_each_one_has_a_line(stage: Stage) -> None:
    stage.config.write_text(
        stage.config.read_text().replace("options = {says", "# options = {says")
    )
    done = stage.vanta("ask", "--policy", "race", "fail auth")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "error: no track could answer:"
    assert sorted(line.split("'")[1] for line in lines[1:]) == ["api", "local"]


def test_a_missing_server_is_named_with_the_setting_to_check(stage: Stage) -> None:
    with nothing_listens() as url:
        done = _ask_openai(stage, url)
    assert done.returncode == 1
    assert url in done.stderr
    assert "Check that the server is running" in done.stderr


@pytest.mark.anyio
async def test_a_wrong_key_is_named_and_never_printed(stage: Stage) -> None:
    async with Upstream(Behaviour.unauthorized()) as upstream:
        done = await anyio.to_thread.run_sync(
            partial(_ask_openai, stage, upstream.base_url, OPENAI_API_KEY="sk-my-secret")
        )
    assert done.returncode == 1
    assert "auth" in done.stderr
    assert "OPENAI_API_KEY" in done.stderr
    assert "sk-my-secret" not in done.stderr + done.stdout


def test_a_model_that_is_not_downloaded_is_named_with_the_command_that_brings_it(
    stage: Stage,
) -> None:
    done = stage.vanta("ask", "echo x", VANTA_CONFIG="offline")
    assert done.returncode == 1
    assert "vanta models pull smollm2-135m-instruct" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_message_longer_than_the_window_says_by_how_much(stage: Stage) -> None:
    environ = {"VANTA_TRACKS__LOCAL__WINDOW": "700"}
    done = stage.vanta("ask", stdin="echo " + "word " * 2000, **environ)
    assert done.returncode == 1
    assert "context_overflow" in done.stderr
    assert "token" in done.stderr


def test_a_data_directory_that_cannot_be_written_is_named(stage: Stage) -> None:
    taken = stage.folder / "taken"
    taken.write_text("a file where a folder should be")
    done = stage.vanta("ask", "echo x", VANTA_DATA_DIR=str(taken))
    assert done.returncode == 3
    assert str(taken) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error_to_look_at(stage: Stage) -> None:
    line = f"'{COMMAND[0]}' -c '{COMMAND[2]}' ask echo {'word ' * 20000} | head -c 10"
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        env=stage.environ,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""


def test_ctrl_c_stops_the_turn_and_is_130(stage: Stage) -> None:
    running = subprocess.Popen(
        [*COMMAND, "ask", f"hold {stage.folder / 'never'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=stage.environ,
    )
    with running:
        stage.wait_for("holding")
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert (out, err) == ("begun \n", "")
    assert stage.happened() == ["holding", "cancelled"]


def _ask_openai(stage: Stage, url: str, **environ: str) -> subprocess.CompletedProcess[str]:
    config = Path(stage.folder / "openai.toml")
    config.write_text('policy = "api"\n[tracks.local]\nenabled = false\n')
    return stage.vanta("ask", "hello", VANTA_CONFIG=str(config), OPENAI_BASE_URL=url, **environ)


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def test_a_schema_prints_the_object_and_nothing_else(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "city.json"
    path.write_text(json.dumps(SCHEMA), "utf-8")
    question = 'echo Sure: {"city": "Rome",}'
    done = stage.vanta("ask", "--policy", "local", "--schema", str(path), question)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"city": "Rome"}
    whole = stage.vanta("ask", "--policy", "local", "--json", "--schema", str(path), question)
    assert json.loads(whole.stdout)["output"] == {"city": "Rome"}


def test_an_answer_that_is_not_of_the_schema_names_the_field(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "city.json"
    path.write_text(json.dumps(SCHEMA), "utf-8")
    done = stage.vanta("ask", "--policy", "local", "--schema", str(path), 'echo {"city": 3}')
    assert done.returncode == 1
    assert done.stdout == ""
    assert "field 'city': it breaks the rule 'type'" in done.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[1]", "must have an object"), ("{", "city.json"), ('{"type": "nothing"}', "not valid")],
)
def test_a_file_that_is_no_schema_is_a_usage_error(
    stage: Stage, tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "city.json"
    path.write_text(text, "utf-8")
    done = stage.vanta("ask", "--schema", str(path), "echo {}")
    assert done.returncode == 2
    message = "".join(character for character in done.stderr if character not in "│ \n")
    assert problem.replace(" ", "") in message  # a long path is broken into lines
    assert stage.vanta("ask", "--schema", str(tmp_path / "no.json"), "x").returncode == 2


def test_tools_are_offered_by_name(stage: Stage) -> None:
    calls = 'call calculate {"expression": "17 * 23"}'
    done = stage.vanta("ask", "--tools", "calculator,clock", calls)
    assert done.returncode == 0, done.stderr
    assert "tools.mode" in done.stdout  # no rule allows the call, and no one can be asked
    stage.config.write_text(f'{stage.config.read_text()}\n[tools]\nmode = "read"\n')
    assert "391" in stage.vanta("ask", "--tools", "calculator,clock", calls).stdout
    without = stage.vanta("ask", "--tools", "clock", calls)
    assert "391" not in without.stdout


def test_an_unknown_toolset_is_named_with_the_nearest(stage: Stage) -> None:
    done = stage.vanta("ask", "--tools", "calculater", "echo x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no toolset is named 'calculater'. Did you mean 'calculator'?" in done.stderr
