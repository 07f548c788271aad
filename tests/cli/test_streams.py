"""What the standard streams may be connected to: nothing, a full disk, an old encoding, a pipe."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.stage import COMMAND, Stage

NO_VARIABLES: Mapping[str, str] = {}
QUESTION = "echo café 北京 \U0001f600 …"


def run(
    stage: Stage, shell: str, stdin: bytes = b"", environ: Mapping[str, str] = NO_VARIABLES
) -> tuple[int, bytes, bytes]:
    """Run `vanta` in a shell command that redirects its streams; $V stands for it."""
    done = subprocess.run(
        ["sh", "-c", shell.replace("$V", shlex.join(COMMAND))],
        input=stdin,
        capture_output=True,
        cwd=stage.folder,
        env={**stage.environ, **environ},
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932"])
def test_a_reply_is_printed_whatever_the_console_encodes(stage: Stage, encoding: str) -> None:
    code, out, err = run(stage, f"$V ask '{QUESTION}'", environ={"PYTHONIOENCODING": encoding})
    assert (code, err) == (0, b"")
    assert out.startswith(b"caf")
    assert out.endswith(b"\n")
    name = encoding.partition(":")[0]
    if name in {"ascii", "cp1252", "latin-1"}:
        assert r"\u5317\u4eac \U0001f600" in out.decode(name)
    else:
        assert "北京" in out.decode(name)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_stays_json_on_every_console(stage: Stage, encoding: str) -> None:
    code, out, _ = run(stage, f"$V ask --json '{QUESTION}'", environ={"PYTHONIOENCODING": encoding})
    assert code == 0
    assert json.loads(out.decode(encoding))["text"] == QUESTION.removeprefix("echo ")


def test_lines_of_a_memory_export_are_json_on_an_old_console(stage: Stage) -> None:
    run(stage, f"$V ask '{QUESTION}'")
    code, out, _ = run(stage, "$V memory export", environ={"PYTHONIOENCODING": "ascii"})
    assert code == 0
    texts = [json.loads(line)["text"] for line in out.decode("ascii").splitlines()]
    assert QUESTION in texts


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        (b"echo What is a caf\xe9?", "What is a caf\ufffd?\n"),
        ("echo café".encode(), "café\n"),
        ("\ufeffecho café".encode(), "café\n"),
    ],
)
def test_a_question_is_read_whatever_its_bytes(stage: Stage, stdin: bytes, expected: str) -> None:
    code, out, err = run(stage, "$V ask", stdin)
    assert (code, out.decode(), err) == (0, expected, b"")


@pytest.mark.parametrize("command", ["ask", "memory import -"])
def test_input_without_an_end_is_refused(stage: Stage, command: str) -> None:
    code, out, err = run(stage, f"$V {command} < /dev/zero")
    assert (code, out) == (2, b"")
    assert b"standard input" in err


def test_a_locale_without_letters_loses_none(stage: Stage) -> None:
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code, out, _ = run(stage, "$V ask", "echo café".encode(), plain)
    assert (code, out) == (0, rb"caf\xe9" + b"\n")
    code, out, _ = run(stage, "$V ask --session café 'echo süß'", environ=plain)
    assert (code, out) == (0, rb"s\xfc\xdf" + b"\n")
    code, out, _ = run(stage, "$V trace list --json --session café")
    assert [record["session"] for record in json.loads(out)] == ["café"]


def test_arguments_that_are_not_unicode_are_replaced(stage: Stage) -> None:
    name = os.fsencode("s") + b"\xe9"
    argv = [*map(os.fsencode, COMMAND), b"ask", b"--session", name, b"echo caf\xe9"]
    done = subprocess.run(argv, capture_output=True, env=stage.environ, timeout=60, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "caf\ufffd\n", b"")


@pytest.mark.parametrize("closed", ["<&- 2>&-", "<&- 2>&- >&-", ">&-"])
def test_closed_streams_break_nothing(stage: Stage, closed: str) -> None:
    code, out, err = run(stage, f"$V ask 'echo fine' {closed}")
    assert (code, err) == (0, b"")
    assert out == (b"" if ">&-" in closed.replace("2>&-", "") else b"fine\n")
    # With a closed descriptor, the store's file would have got its number, and its prints.
    assert run(stage, "$V trace list")[0] == 0


def test_no_question_on_closed_input_is_a_usage_error(stage: Stage) -> None:
    code, _, err = run(stage, "$V ask <&-")
    assert code == 2
    assert b"the question is empty" in err


@pytest.mark.parametrize("command", ["ask 'echo fine'", "models list", "config show --json"])
def test_a_full_disk_is_reported_once(stage: Stage, command: str) -> None:
    code, _, err = run(stage, f"$V {command} > /dev/full")
    assert code == 3
    assert err.count(b"No space left") == 1


@pytest.mark.parametrize(
    "command",
    [
        *("ask 'echo fine'", "ask --json 'echo fine'", "models list", "config show --json"),
        *("--help", "--version", "memory export", "trace list", "run stage.yaml", "policies list"),
    ],
)
def test_a_reader_that_leaves_early_is_quiet(stage: Stage, tmp_path: Path, command: str) -> None:
    (stage.folder / "stage.yaml").write_text("name: stage\nturns:\n  - say: echo fine\n")
    run(stage, "$V ask 'echo one'")
    code = tmp_path / "code"
    _, out, err = run(stage, f"( $V {command}; echo $? > {code} ) | true")
    assert (out, err) == (b"", b"")
    assert code.read_text() == "141\n"  # as of every command that SIGPIPE ends


def test_a_reader_that_leaves_in_the_middle_of_a_reply_ends_the_turn(
    stage: Stage, tmp_path: Path
) -> None:
    code, begun = tmp_path / "code", tmp_path / "begun"
    _, out, err = run(
        stage, f"( $V ask 'hold {begun}'; echo $? > {code} ) | (head -c 1; touch {begun})"
    )
    assert (out, err) == (b"b", b"")
    assert code.read_text() == "141\n"


def test_messages_that_nothing_reads_do_not_stop_the_work(stage: Stage, tmp_path: Path) -> None:
    result = tmp_path / "result"
    run(stage, f"( $V ask -v 'echo fine' > {result}; echo $? >> {result} ) 2>&1 | true")
    assert result.read_text() == "fine\n0\n"
