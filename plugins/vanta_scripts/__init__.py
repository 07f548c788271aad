"""Scripted conversations, run and judged like a test suite: `vanta run` and `vanta scripts`.

    script = load_script("talk.yaml")
    async with vanta.open() as runtime:
        report = await Suite(runtime, [script]).run()

Invariant: loading a script opens no runtime, and running one writes no file but what its run
needs. A name is imported when it is first used, so importing this plugin loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta import hookimpl, lazy_front
from vanta.cli import Command

if TYPE_CHECKING:
    from vanta_scripts.cassette import Cassette, Player, Recorder, load_cassette, save_cassette
    from vanta_scripts.checks import BUILTIN, known_expectations
    from vanta_scripts.format import load_script, parse_script, update_equals
    from vanta_scripts.preflight import check_files, check_names, find_scripts, select
    from vanta_scripts.reports.documents import html_report, junit_report
    from vanta_scripts.results import RunReport, ScriptOutcome, ScriptResult, TurnResult
    from vanta_scripts.runner import ScriptRun, run_script
    from vanta_scripts.schema import script_schema
    from vanta_scripts.script import Script, ScriptTurn, variants
    from vanta_scripts.suite import RunOptions, Suite

_NAMES = {
    ".cassette": "Cassette Player Recorder load_cassette save_cassette",
    ".checks": "BUILTIN known_expectations",
    ".format": "load_script parse_script update_equals",
    ".preflight": "check_files check_names find_scripts select",
    ".reports.documents": "html_report junit_report",
    ".results": "RunReport ScriptOutcome ScriptResult TurnResult",
    ".runner": "ScriptRun run_script",
    ".schema": "script_schema",
    ".script": "Script ScriptTurn variants",
    ".suite": "RunOptions Suite",
}

__all__ = [
    "BUILTIN",
    "Cassette",
    "Player",
    "Recorder",
    "RunOptions",
    "RunReport",
    "Script",
    "ScriptOutcome",
    "ScriptResult",
    "ScriptRun",
    "ScriptTurn",
    "Suite",
    "TurnResult",
    "check_files",
    "check_names",
    "find_scripts",
    "html_report",
    "junit_report",
    "known_expectations",
    "load_cassette",
    "load_script",
    "parse_script",
    "run_script",
    "save_cassette",
    "script_schema",
    "select",
    "update_equals",
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
            "Create, check and describe scripted conversations.",
            "vanta_scripts.commands.scripts:app",
        ),
    }


__getattr__ = lazy_front(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
