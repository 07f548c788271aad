"""Scripts: conversations as data, run like a test suite.

Invariant: loading a script touches no runtime, and running one touches no file; nothing here
imports YAML before a script is read.
"""

from vanta.scripts.checks import BUILTIN, known_expectations
from vanta.scripts.discovery import find_scripts
from vanta.scripts.expectations import Expectation, Failure, Seen
from vanta.scripts.format import load_script, parse_script
from vanta.scripts.json_schema import script_schema
from vanta.scripts.model import Script, ScriptTurn
from vanta.scripts.preflight import check_files, check_names
from vanta.scripts.report import Outcome, RunReport
from vanta.scripts.results import ExitCode, ScriptResult, TurnResult, exit_code, exit_code_of
from vanta.scripts.runner import ScriptRun, run_script
from vanta.scripts.selection import select
from vanta.scripts.suite import RunOptions, Suite
from vanta.scripts.variants import variants

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
    "variants",
]
