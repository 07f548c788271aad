"""Scripts: conversations as data, run like a test suite.

Invariant: loading a script touches no runtime, and running one touches no file; nothing here
imports YAML before a script is read.
"""

from vanta.scripts.expectations import BUILTIN, Expectation, Failure, Seen, known_expectations
from vanta.scripts.format import load_script, parse_script
from vanta.scripts.model import Script, ScriptTurn
from vanta.scripts.results import ExitCode, ScriptResult, TurnResult, exit_code, exit_code_of
from vanta.scripts.runner import run_script

__all__ = [
    "BUILTIN",
    "ExitCode",
    "Expectation",
    "Failure",
    "Script",
    "ScriptResult",
    "ScriptTurn",
    "Seen",
    "TurnResult",
    "exit_code",
    "exit_code_of",
    "known_expectations",
    "load_script",
    "parse_script",
    "run_script",
]
