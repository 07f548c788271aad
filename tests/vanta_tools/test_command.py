"""The tool `command`: listed programs, without a shell, gone when the call ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pydantic import ValidationError

from vanta import ToolContext, ToolResult
from vanta_tools.command import CommandOptions, CommandToolset, ProgramRule, why_command_off

PYTHON = {"py": ProgramRule(path=sys.executable)}


def make(
    folder: Path,
    programs: Mapping[str, ProgramRule] | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> CommandToolset:
    made = CommandOptions(programs=programs or PYTHON, **options)
    return CommandToolset(
        made, folder, {"PATH": os.environ["PATH"]} if environ is None else environ
    )


async def run(folder: Path, *argv: str, cwd: str = ".", stdin: str = "", **made: Any) -> ToolResult:
    toolset = make(folder, **made)
    arguments = {"argv": list(argv), "cwd": cwd, "stdin": stdin}
    return await toolset.call("command", arguments, ToolContext())


async def gone(pid: int) -> bool:
    """Return whether a process ends soon."""
    return await anyio.to_thread.run_sync(_ends, pid)


def _ends(pid: int) -> bool:
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # dead, and its parent has not looked yet
            return True
        time.sleep(0.02)
    return False


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.anyio
async def test_a_program_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    code = "import sys; print(sys.argv[1:])"
    arguments = ("$HOME", "*", "; rm -rf /", "`id`", "a b", "", "|", "&&", ">x", "\n")
    result = await run(tmp_path, "py", "-c", code, *arguments)
    assert result.text == str(list(arguments))
    assert (result.is_error, result.data["exit_code"]) == (False, 0)
    assert names(tmp_path) == []


@pytest.mark.anyio
async def test_exit_code_errors_and_input_are_reported(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read()[::-1]); print('bad', file=sys.stderr); sys.exit(3)"
    result = await run(tmp_path, "py", "-c", code, stdin="abc")
    assert result.text == "cba\n[standard error]\nbad\n[exit code 3]"
    assert result.is_error


@pytest.mark.anyio
async def test_a_program_that_reads_nothing_gets_its_input_refused(tmp_path: Path) -> None:
    result = await run(tmp_path, "py", "-c", "pass", stdin="x" * 900_000)
    assert (result.text, result.is_error) == ("(no output)", False)


@pytest.mark.anyio
async def test_only_listed_variables_are_passed(tmp_path: Path) -> None:
    environ = {
        "PATH": "/usr/bin",
        "SECRET": "x",
        "HOME": "/h",
        "LD_PRELOAD": "",
        "OPENAI_API_KEY": "k",
    }
    programs = {"py": ProgramRule(path=sys.executable, env={"MODE": "test"})}
    code = "import os; print(sorted(os.environ))"
    result = await run(tmp_path, "py", "-c", code, programs=programs, environ=environ)
    assert result.text == "['HOME', 'LC_CTYPE', 'MODE', 'PATH']"
    result = await run(
        tmp_path, "py", "-c", code, programs=programs, environ=environ, env=("SECRET",)
    )
    assert result.text == "['LC_CTYPE', 'MODE', 'SECRET']"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "argv",
    [
        ["ls"],
        ["/bin/ls"],
        ["./py"],
        ["../py"],
        ["PY"],
        ["py "],
        [""],
        ["py\0"],
        ["sh", "-c", "id"],
        ["env", "py"],
        ["py", "a\0b"],
        ["py", "x" * 200_000],
        ["py", *["x"] * 300],
        ["py", "\ud800"],
    ],
    ids=ascii,
)
async def test_what_is_not_listed_is_not_run(tmp_path: Path, argv: list[str]) -> None:
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')"
    script = tmp_path / "py"
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)
    result = await run(tmp_path, *argv)
    assert result.is_error
    assert not marker.exists()


@pytest.mark.anyio
async def test_a_rule_limits_the_arguments(tmp_path: Path) -> None:
    rule = ProgramRule(
        path=sys.executable, first=("-c",), allow=("print*", "-*"), deny=("--exec*", "-o*")
    )
    programs = {"py": rule}
    for argv, problem in (
        ([], "must be one of: '-c'"),
        (["-m", "x"], "must be one of: '-c'"),
        (["-c", "print(1)", "--exec=rm"], "rule '--exec*'"),
        (["-c", "print(1)", "-ofile"], "rule '-o*'"),
        (["-c", "import os"], "is not allowed for 'py'"),
    ):
        result = await run(tmp_path, "py", *argv, programs=programs)
        assert result.is_error
        assert problem in result.text
    assert (await run(tmp_path, "py", "-c", "print(1)", "-x", programs=programs)).text == "1"


@pytest.mark.anyio
async def test_programs_are_not_searched_in_the_folder_they_run_in(tmp_path: Path) -> None:
    script = tmp_path / "mine"
    script.write_text(f"#!{sys.executable}\nprint('ran')\n")
    script.chmod(0o755)
    programs = {"mine": ProgramRule()}
    for path in ("", ".", f".{os.pathsep}", str(Path("tmp"))):
        result = await run(tmp_path, "mine", programs=programs, environ={"PATH": path})
        assert "not installed" in result.text
    result = await run(tmp_path, "mine", programs=programs, environ={"PATH": str(tmp_path)})
    assert result.text == "ran"


@pytest.mark.anyio
async def test_a_listed_name_that_is_a_shell_is_not_run(tmp_path: Path) -> None:
    tmp_path.joinpath("harmless").symlink_to("/bin/sh")
    result = await run(
        tmp_path,
        "harmless",
        "-c",
        "id",
        programs={"harmless": ProgramRule()},
        environ={"PATH": str(tmp_path)},
    )
    assert result.is_error
    assert "runs other programs" in result.text


@pytest.mark.parametrize(
    "programs",
    [
        {"sh": {}},
        {"bash": {}},
        {"BASH": {}},
        {"env": {}},
        {"xargs": {}},
        {"cmd.exe": {}},
        {"deploy.bat": {}},
        {"tool": {"path": "/bin/sh"}},
        {"tool": {"path": "bin/tool"}},
        {"a/b": {}},
        {"": {}},
        {"git": {"timeout_s": 0}},
        {"git": {"timeout_s": float("nan")}},
        {"git": {"unknown": 1}},
    ],
    ids=str,
)
def test_a_rule_that_would_let_anything_run_is_refused(programs: Any) -> None:
    with pytest.raises(ValidationError):
        CommandOptions.model_validate({"programs": programs})


@pytest.mark.parametrize("name", ["LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "GIT_SSH"])
def test_variables_that_load_code_are_not_passed_on(name: str) -> None:
    with pytest.raises(ValidationError, match="run other code"):
        CommandOptions(env=(name,))


@pytest.mark.anyio
async def test_the_folder_is_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.joinpath("in").mkdir(parents=True)
    root.joinpath("out").symlink_to(tmp_path)
    code = "import os; print(os.getcwd())"
    options = {"root": "root"}
    result = await run(tmp_path, "py", "-c", code, cwd="in", **options)
    assert result.text == str(root / "in")
    for cwd in ("out", "..", "/", "in/../..", "none", "~"):
        assert (await run(tmp_path, "py", "-c", code, cwd=cwd, **options)).is_error


@pytest.mark.anyio
async def test_hidden_folders_are_an_option(tmp_path: Path) -> None:
    tmp_path.joinpath(".git").mkdir()
    for hidden in (False, True):
        result = await run(tmp_path, "py", "-c", "print(1)", cwd=".git", hidden=hidden)
        assert result.is_error is not hidden


@pytest.mark.anyio
async def test_long_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    code = "print('a' * 50_000 + 'b' * 50_000)"
    result = await run(tmp_path, "py", "-c", code, max_output_bytes=1000)
    first, middle, last = result.text.split("\n")
    assert (first, last.strip("b")) == ("a" * 500, "")
    assert middle == "[99001 bytes are left out]"
    assert not result.is_error


@pytest.mark.anyio
async def test_output_without_an_end_is_stopped(tmp_path: Path) -> None:
    code = "import sys\nwhile True: sys.stdout.write('x' * 100_000)"
    result = await run(tmp_path, "py", "-c", code, max_output_bytes=1000)
    assert result.is_error
    assert "bytes of output]" in result.text


@pytest.mark.anyio
async def test_a_program_is_stopped_at_its_deadline_with_what_it_wrote(tmp_path: Path) -> None:
    programs = {"py": ProgramRule(path=sys.executable, timeout_s=1.5)}
    code = (
        "import signal, os, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True)\n"
        "if os.fork() == 0: print(os.getpid(), flush=True)\n"
        "time.sleep(600)"
    )
    began = time.monotonic()
    result = await run(tmp_path, "py", "-c", code, programs=programs)
    assert time.monotonic() - began < 60
    first, second, note = result.text.split("\n")
    assert note == "[it was stopped after 1.5 seconds]"
    assert await gone(int(first))
    assert await gone(int(second))


@pytest.mark.anyio
async def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    code = "import os, time\npid = os.fork()\nif pid == 0: time.sleep(600)\nprint(pid, flush=True)"
    began = time.monotonic()
    result = await run(tmp_path, "py", "-c", code)
    assert time.monotonic() - began < 60
    assert not result.is_error
    assert await gone(int(result.text))


@pytest.mark.anyio
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_a_job_with_a_group_of_its_own_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "reader, writer = os.pipe()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os.setpgid(0, 0)\n"
        "    os.write(writer, b'x')\n"
        "    time.sleep(600)\n"
        "os.read(reader, 1)\n"
        "print(pid, flush=True)"
    )
    result = await run(tmp_path, "py", "-c", code)
    assert await gone(int(result.text))


@pytest.mark.anyio
async def test_a_process_outside_the_group_that_holds_the_output_is_not_waited_for(
    tmp_path: Path,
) -> None:
    code = (
        "import os, time\n"
        "print('done', flush=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    time.sleep(5)\n"
        "else: time.sleep(0.3)"
    )
    began = time.monotonic()
    result = await run(tmp_path, "py", "-c", code)
    assert time.monotonic() - began < 4.5
    assert result.text == "done"


@pytest.mark.anyio
async def test_a_cancelled_call_leaves_no_process(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    code = (
        "import os, time\n"
        f"with open({str(ready)!r}, 'w') as file: file.write(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(run, tmp_path, "py", "-c", code))
        pid = int(await anyio.to_thread.run_sync(ready.read_text))
        tasks.cancel_scope.cancel()
    assert await gone(pid)


@pytest.mark.anyio
async def test_a_call_ends_before_the_turn_does(tmp_path: Path) -> None:
    toolset = make(tmp_path)
    arguments = {"argv": ["py", "-c", "import time; time.sleep(600)"]}
    with anyio.fail_after(60):
        context = ToolContext(ends_at=anyio.current_time() + 1)
        result = await toolset.call("command", arguments, context)
    assert "it was stopped" in result.text


@pytest.mark.anyio
async def test_it_has_no_terminal(tmp_path: Path) -> None:
    code = "try: open('/dev/tty')\nexcept OSError as error: print('none')"
    assert (await run(tmp_path, "py", "-c", code)).text == "none"


@pytest.mark.anyio
async def test_what_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF but not really")
    broken.chmod(0o755)
    result = await run(tmp_path, "broken", programs={"broken": ProgramRule(path=str(broken))})
    assert result.is_error
    assert "cannot be started" in result.text


@pytest.mark.anyio
async def test_it_counts_as_a_write_that_may_leave_the_machine(tmp_path: Path) -> None:
    (tool,) = await make(tmp_path).tools()
    assert (tool.effect, tool.private, tool.untrusted) == ("write", False, True)
    assert "Programs: py." in tool.description
    assert tool.timeout_s > 60
    (tool,) = await make(tmp_path, private=True).tools()
    assert tool.private


def test_the_toolset_is_off_without_programs(tmp_path: Path) -> None:
    assert "no program is listed" in (why_command_off(CommandOptions()) or "")
    assert why_command_off(CommandOptions(programs=PYTHON)) is None
    missing = CommandOptions(programs=PYTHON, root=str(tmp_path / "none"))
    assert "not a folder" in (why_command_off(missing) or "")
