"""`vanta run`: scripted conversations, judged turn by turn.

Invariant: every script is read and checked before the first turn of any runs. The exit code is 0
only if every turn of every script passed. Ctrl-C leaves a report of what has run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import (
    ConfigOption,
    ExitCode,
    Interruptible,
    JsonOption,
    PolicyOption,
    TrackOption,
    check_choice,
    open_runtime,
    print_error,
    print_json,
    print_status,
    read_json,
    write_file,
)
from vanta.files import write_private

if TYPE_CHECKING:
    from vanta import Opening, Runtime, SyncRuntime, VantaError
    from vanta_scripts import Player, Recorder, RunOptions, RunReport, Script, Suite, TurnResult

    Progress = tuple[Script, TurnResult]

app = typer.Typer()
_VERDICT_CODES = {
    "passed": ExitCode.FINE,
    "failed": ExitCode.FAILED,
    "incomplete": ExitCode.COULD_NOT_RUN,
}

_Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH...", help="YAML (or JSON) files, or folders.")
]
_Words = Annotated[
    str, typer.Option("-k", metavar="EXPR", help='Select by name: "greets and not (slow or api)".')
]
_Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME", help="Only scripts with this tag.")
]
_LastFailed = Annotated[
    bool, typer.Option("--last-failed", help="Only the last failures, or all without any.")
]
_Parallel = Annotated[
    int, typer.Option("--parallel", "-n", min=1, metavar="N", help="Scripts at a time.")
]
_Repeat = Annotated[
    int | None, typer.Option("--repeat", min=1, max=1000, metavar="N", help="Runs of each.")
]
_MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, metavar="USD", help="Stop once this amount is spent."),
]
_FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]
_Update = Annotated[
    bool, typer.Option("--update", help="Set `equals` values that do not hold to the replies.")
]
_Record = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Record the engines' output.")
]
_Replay = Annotated[
    Path | None,
    typer.Option("--replay", metavar="FILE", help="Run a recording without any engine."),
]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page with everything.")
]
AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", metavar="FILE", help="Compare with the JSON of an earlier run."),
]


@app.command()
def run(
    scripts: _Paths,
    track: TrackOption = None,
    policy: PolicyOption = None,
    words: _Words = "",
    tag: _Tags = None,
    last_failed: _LastFailed = False,
    parallel: _Parallel = 1,
    repeat: _Repeat = None,
    max_cost: _MaxCost = None,
    fail_fast: _FailFast = False,
    update: _Update = False,
    junit: JunitOption = None,
    html: HtmlOption = None,
    against: AgainstOption = None,
    record: _Record = None,
    replay: _Replay = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run scripted conversations and judge the replies.

    --track and --policy replace the scripts' own; a turn that names its own keeps it.
    Exit code: 0 if every turn passed, 1 if one failed, 2 if a script or an option must be changed,
    3 if not everything could be run.
    """
    check_choice(track, policy)
    if record and replay:
        raise typer.BadParameter("--record and --replay exclude each other. Pass one of them.")
    from vanta_scripts import RunOptions

    before = read_report(against) if against else None
    choice = _Choice(scripts, words, tuple(tag or ()), last_failed, track, policy)
    options = RunOptions(
        parallel=parallel, repeat=repeat, max_cost_usd=max_cost, fail_fast=fail_fast
    )
    report, interrupted = _run(choice, options, config, _Tapes(record, replay), quiet=json)
    write_reports(report.to_dict(), before, junit=junit, html=html)
    if update:
        _update(report)
    if json:
        print_json(report.to_dict())
    else:
        from vanta_scripts.commands.display import print_comparison, print_outcomes

        print_outcomes(report)
        print_comparison(report.to_dict(), before)
    raise typer.Exit(ExitCode.INTERRUPTED if interrupted else _VERDICT_CODES[report.verdict])


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    """Which scripts to run, and what the command line replaces in them."""

    paths: Sequence[Path]
    words: str
    tags: tuple[str, ...]
    last_failed: bool
    track: str | None
    policy: str | None

    def read(self, runtime: Runtime) -> list[Script]:
        """Return the selected scripts. Raises ScriptError, UnknownName."""
        from vanta import ScriptError
        from vanta_scripts import find_scripts, known_expectations, load_script, select
        from vanta_scripts.preflight import last_failed

        known = known_expectations(runtime.plugins)
        loaded = [load_script(path, known) for path in find_scripts(self.paths)]
        scripts = select(loaded, words=self.words, tags=self.tags)
        if not scripts:
            raise ScriptError(f"none of {len(loaded)} scripts matches -k and --tag.")
        if self.last_failed:
            scripts = last_failed(scripts, runtime.config.data_dir)
        return [self._apply(script) for script in scripts]

    def _apply(self, script: Script) -> Script:
        if self.track is None and self.policy is None:
            return script
        return dataclasses.replace(script, track=self.track, policy=self.policy)


@dataclasses.dataclass(frozen=True, slots=True)
class _Tapes:
    """The cassette to record, or the one to play."""

    record: Path | None
    replay: Path | None

    def load(self) -> Recorder | Player | None:
        """Return what stands between scripts and engines. Raises ScriptError."""
        from vanta_scripts import Player, Recorder, load_cassette

        if self.replay:
            return Player(load_cassette(self.replay))
        return Recorder() if self.record else None

    def save(self, tape: Recorder | Player | None) -> None:
        """Write the recording, if there is one."""
        from vanta_scripts import Recorder, save_cassette

        if self.record and isinstance(tape, Recorder):
            cassette = tape.cassette
            write_file(self.record, lambda path: save_cassette(cassette, path))


def _run(
    choice: _Choice, options: RunOptions, config: str | None, tapes: _Tapes, *, quiet: bool
) -> tuple[RunReport, bool]:
    """Return the report, and whether Ctrl-C ended the run. Exits if nothing can be run."""
    from vanta import VantaError
    from vanta_scripts import Player, Suite, check_names
    from vanta_scripts.preflight import record_failures

    try:
        tape = tapes.load()
        player = tape if isinstance(tape, Player) else None

        def opening() -> Opening:
            if player is None:
                return open_runtime(config)
            return open_runtime(config, plugins=(player,), tracks=player.tracks)

        with opening() as runtime:
            scripts = choice.read(runtime.runtime)
            if player is not None:
                scripts = [player.recast(script) for script in scripts]
            suite = Suite(runtime.runtime, scripts, options, reopen=opening, tape=tape)
            for script in suite.scripts:
                check_names(script, runtime.runtime)
            finished = _watch(suite, runtime, quiet=quiet)
            report = suite.report("" if finished else "interrupted")
            record_failures(report, runtime.config.data_dir)
            tapes.save(tape)
            return report, not finished
    except VantaError as error:
        print_error(error)
        raise typer.Exit(error_exit_code(error)) from None


def _watch(suite: Suite, runtime: SyncRuntime, *, quiet: bool) -> bool:
    """Run the suite and show its progress; return False if Ctrl-C ended it."""
    from vanta_scripts.commands.display import RunDisplay

    async def work(tell: Callable[[Progress], None]) -> None:
        await suite.run(lambda script, turn: tell((script, turn)))

    watched: Interruptible[Progress] = Interruptible(runtime.portal)
    if quiet:
        return watched.watch(work, lambda _: None)
    with RunDisplay(suite.turns) as display:
        return watched.watch(work, lambda progress: display.show(*progress))


def error_exit_code(error: VantaError) -> ExitCode:
    """Return the exit code of an error that kept scripts from running.

    :param error: the error.
    :returns: USAGE if the caller, the configuration or a file must change, else COULD_NOT_RUN.
    """
    from vanta import UsageError

    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.COULD_NOT_RUN


def read_report(path: Path) -> dict[str, Any]:
    """Return a saved report. Raises a usage error for a file that is not a report."""
    report = read_json(path)
    if not isinstance(report, dict) or not {"figures", "scripts", "outcomes"} <= report.keys():
        raise typer.BadParameter(f"{path} is not a report. Write one with `vanta run --json`.")
    return report


def write_reports(
    report: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    *,
    junit: Path | None,
    html: Path | None,
) -> None:
    """Write the report in the requested forms."""
    from vanta_scripts import html_report, junit_report

    if junit:
        text = junit_report(report)
        write_file(junit, lambda path: write_private(path, text))
    if html:
        page = html_report(report, before=before)
        write_file(html, lambda path: write_private(path, page))


def _update(report: RunReport) -> None:
    from vanta_scripts import update_equals

    for place in update_equals(report.results):
        print_status(f"updated {place}")
