"""The root command: help that costs nothing, names that are near, plugins' commands, exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

import vanta_mcp
import vanta_scripts
import vanta_tuning
from tests.cli.stage import Stage
from vanta.cli.app import COMMANDS
from vanta.cli.output import run_guarded

EVERY = {
    **COMMANDS,
    **vanta_mcp.vanta_commands(),
    **vanta_scripts.vanta_commands(),
    **vanta_tuning.vanta_commands(),
}
HEAVY = ("pydantic", "sqlalchemy", "jinja2", "yaml", "numpy", "llama_cpp", "openai", "anyio")


def test_the_help_page_lists_every_command(stage: Stage) -> None:
    done = stage.vanta("--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in EVERY)


def test_the_help_page_loads_nothing_heavy() -> None:
    code = (
        "import sys; from vanta.cli import main; main(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", EVERY)
def test_the_help_page_has_the_first_line_of_the_commands_own_help(name: str) -> None:
    command = typer.main.get_command(EVERY[name].load())
    assert (command.help or "").splitlines()[0] == EVERY[name].help


def test_an_unknown_command_names_the_nearest_and_is_a_usage_error(stage: Stage) -> None:
    done = stage.vanta("chatt")
    assert done.returncode == 2
    assert "chat" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_brings_a_command_that_help_lists_and_its_name_runs(stage: Stage) -> None:
    assert "wave" in stage.vanta("--help").stdout
    done = stage.vanta("wave")
    assert (done.returncode, done.stdout) == (0, "the stage waves\n")


def test_a_plugin_that_is_not_allowed_brings_no_command(stage: Stage) -> None:
    done = stage.vanta("wave", VANTA_PLUGINS__ALLOW="[]")
    assert done.returncode == 2
    assert "wave" in done.stderr


def test_a_plugin_cannot_take_a_command_of_vantas_own(stage: Stage) -> None:
    done = stage.vanta("wave", STAGE_COMMAND="ask")
    assert done.returncode == 2
    assert "'ask'" in done.stderr
    assert "stage" in done.stderr


def test_the_configuration_may_be_named_before_the_command(stage: Stage) -> None:
    other = stage.folder / "other.toml"
    other.write_text(stage.config.read_text().replace("stage-1", "stage-9"))
    data = stage.vanta("--config", str(other), "ask", "--json", "echo x")
    assert '"model": "stage-9"' in data.stdout


def test_the_version_is_the_packages_own(stage: Stage) -> None:
    import vanta

    assert stage.vanta("--version").stdout == f"vanta {vanta.__version__}\n"


def test_a_plugin_cannot_take_a_command_of_a_built_in_plugin(stage: Stage) -> None:
    shown = stage.vanta("--help", STAGE_COMMAND="run")
    assert shown.returncode == 2
    assert "'run'" in shown.stderr
    assert "'scripts'" in shown.stderr
    assert "stage" in shown.stderr
    assert stage.vanta("run", "--help", STAGE_COMMAND="run").returncode == 0


def test_a_command_that_cannot_be_imported_is_an_error_of_its_plugin(stage: Stage) -> None:
    done = stage.vanta("wave", STAGE_TARGET="no_such_module:app")
    assert done.returncode == 2
    assert "'no_such_module:app' cannot be imported" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lazy_command_is_listed_without_its_module(stage: Stage) -> None:
    shown = stage.vanta("--help", STAGE_TARGET="no_such_module:app")
    assert shown.returncode == 0
    assert "Wave lazily." in shown.stdout


def test_a_fault_of_vanta_is_one_line_with_its_cause_and_the_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> None:
        raise UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed")

    assert run_guarded(command) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: UnicodeEncodeError: ")
    assert "report it" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["ask", "--deadline", "soon", "x"], "'soon' is not a number"),
        (["ask", "--deadline", "nan", "x"], "not nan"),
        (["trace", "list", "-n", "many"], "'many' is not a whole number"),
        (["trace", "list", "-n", "0"], "'0': Input should be greater than or equal to 1"),
        (["memory", "search", "x", "-n", "1.5"], "'1.5' is not a whole number"),
        (["memory", "forget", "--item", "first"], "'first' is not a whole number"),
        (["run", "x.yaml", "--max-cost", "-1"], "'-1': Input should be greater"),
        (["run", "x.yaml", "--repeat", "9" * 500], "..."),
        (["models", "info", "x", "--window", "\x1b[31m"], "is not a whole number"),
    ],
)
def test_a_number_that_is_none_is_named(stage: Stage, argv: list[str], expected: str) -> None:
    done = stage.vanta(*argv)
    assert done.returncode == 2
    assert expected in " ".join(done.stderr.replace("│", " ").split())
    assert "\x1b[31m" not in done.stderr
    assert len(done.stderr) < 2000
