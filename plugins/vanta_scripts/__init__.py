"""Scripts: conversations as data, run like a test suite.

Invariant: loading a script touches no runtime, and running one touches no file; nothing here
imports YAML before a script is read.
"""

from __future__ import annotations

from vanta import hookimpl
from vanta.cli import Command
from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.checks import BUILTIN, known_expectations
from vanta_scripts.discovery import find_scripts
from vanta_scripts.format import load_script, parse_script
from vanta_scripts.json_schema import script_schema
from vanta_scripts.model import Script, ScriptTurn
from vanta_scripts.preflight import check_files, check_names
from vanta_scripts.report import Outcome, RunReport
from vanta_scripts.results import ExitCode, ScriptResult, TurnResult, exit_code, exit_code_of
from vanta_scripts.runner import ScriptRun, run_script
from vanta_scripts.selection import select
from vanta_scripts.suite import RunOptions, Suite
from vanta_scripts.variants import variants

__all__ = [
    "BUILTIN",
    "ExitCode",
    "Expectation",
    "Failure",
    "Outcome",
    "RunOptions",
    "RunReport",
    "Script",
    "ScriptResult",
    "ScriptRun",
    "ScriptTurn",
    "Seen",
    "Suite",
    "TurnResult",
    "check_files",
    "check_names",
    "exit_code",
    "exit_code_of",
    "find_scripts",
    "known_expectations",
    "load_script",
    "parse_script",
    "run_script",
    "script_schema",
    "select",
    "vanta_commands",
    "variants",
]


@hookimpl
def vanta_commands() -> dict[str, Command]:
    """Return the commands `run` and `scripts`."""
    return {
        "run": Command(
            "Run scripted conversations and judge the replies.", "vanta_scripts.commands.run:app"
        ),
        "scripts": Command(
            "Begin, check and describe scripted conversations.",
            "vanta_scripts.commands.scripts:app",
        ),
    }
