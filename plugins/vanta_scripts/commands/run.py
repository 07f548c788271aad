"""`vanta run`: scripted conversations, judged turn by turn.

Invariant: every script is read and checked before the first turn of any runs; the exit code is 0
only if every turn of every script passed; Ctrl-C leaves a report of what was run until then.
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

if TYPE_CHECKING:
    from vanta import Opening
    from vanta.runtime import Runtime, SyncRuntime
    from vanta_scripts import RunOptions, RunReport, Script, Suite, TurnResult
    from vanta_scripts.cassette import Player, Recorder

    Verdict = tuple[Script, TurnResult]

app = typer.Typer()


@app.command()
def run(
    scripts: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="YAML (or JSON) files, or folders.")
    ],
    track: TrackOption = None,
    policy: PolicyOption = None,
    words: Annotated[
        str, typer.Option("-k", metavar="EXPR", help='By name: "greets and not (slow or api)".')
    ] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", help="Only scripts with this tag.")
    ] = None,
    last_failed: Annotated[
        bool, typer.Option("--last-failed", help="Only what failed the last time, if anything did.")
    ] = False,
    parallel: Annotated[
        int, typer.Option("--parallel", "-n", min=1, metavar="N", help="Scripts at a time.")
    ] = 1,
    repeat: Annotated[
        int | None, typer.Option("--repeat", min=1, max=1000, metavar="N", help="Runs of each.")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, metavar="USD", help="Begin no turn beyond this."),
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at a failure.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Rewrite `equals` that do not hold to what was said.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with everything.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="Compare with the JSON of an earlier run."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Keep what the engines say.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE", help="Run without any engine.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run scripted conversations and judge the replies.

    --track and --policy go before the scripts' own; a turn that names its own keeps it.
    Exit code: 0 if every turn passed, 1 if one did not, 2 if a script or an option has to be
    changed, 3 if not everything could be run.
    """
    check_choice(track, policy)
    if record and replay:
        raise typer.BadParameter("--record and --replay exclude each other: give one of them.")
    from vanta_scripts import RunOptions

    before = read_report(against) if against else None
    choice = _Choice(scripts, words, tuple(tag or ()), last_failed, track, policy)
    options = RunOptions(
        parallel=parallel, repeat=repeat, max_cost_usd=max_cost, fail_fast=fail_fast
    )
    report, interrupted = _run(choice, options, config, _Tapes(record, replay), quiet=json)
    write_report(report.to_dict(), before, junit=junit, html=html)
    if update:
        _update(report)
    if json:
        print_json(report.to_dict())
    else:
        from vanta_scripts.commands.run_display import compare, conclude

        conclude(report)
        compare(report.to_dict(), before)
    raise typer.Exit(ExitCode.INTERRUPTED if interrupted else report.exit_code)


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    """Which scripts, and what the command line puts in the place of their own."""

    paths: Sequence[Path]
    words: str
    tags: tuple[str, ...]
    last_failed: bool
    track: str | None
    policy: str | None

    def read(self, runtime: Runtime) -> list[Script]:
        """All scripts, recast and checked. Raises ScriptError, UnknownName."""
        from vanta.errors import ScriptError
        from vanta_scripts import find_scripts, known_expectations, load_script, select
        from vanta_scripts.last_failed import only_failed

        known = known_expectations(runtime.plugins)
        found = [load_script(path, known) for path in find_scripts(self.paths)]
        scripts = select(found, words=self.words, tags=self.tags)
        if not scripts:
            raise ScriptError(f"none of {len(found)} scripts is meant by -k and --tag.")
        if self.last_failed:
            scripts = only_failed(scripts, runtime.config.data_dir)
        return [self._recast(script) for script in scripts]

    def _recast(self, script: Script) -> Script:
        if self.track is None and self.policy is None:
            return script
        return dataclasses.replace(script, track=self.track, policy=self.policy)


@dataclasses.dataclass(frozen=True, slots=True)
class _Tapes:
    """The cassette to record on, or the one to play."""

    record: Path | None
    replay: Path | None

    def load(self) -> Recorder | Player | None:
        """What stands between scripts and engines. Raises ScriptError."""
        from vanta_scripts.cassette import Player, Recorder, load_cassette

        if self.replay:
            return Player(load_cassette(self.replay))
        return Recorder() if self.record else None

    def save(self, tape: Recorder | Player | None) -> None:
        """Keep what was recorded."""
        from vanta_scripts.cassette import Recorder, save_cassette

        if self.record and isinstance(tape, Recorder):
            cassette = tape.cassette
            write_file(self.record, lambda path: save_cassette(cassette, path))


def _run(
    choice: _Choice, options: RunOptions, config: str | None, tapes: _Tapes, *, quiet: bool
) -> tuple[RunReport, bool]:
    """The report, and whether Ctrl-C ended the run. What keeps it from running ends the command."""
    from vanta.errors import VantaError
    from vanta_scripts import Suite, check_names, exit_code_of
    from vanta_scripts.cassette import Player
    from vanta_scripts.last_failed import remember

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
            remember(report, runtime.config.data_dir)
            tapes.save(tape)
            return report, not finished
    except VantaError as error:
        print_error(error)
        raise typer.Exit(exit_code_of(error)) from None


def _watch(suite: Suite, runtime: SyncRuntime, *, quiet: bool) -> bool:
    """Run the suite and show how it goes; False if Ctrl-C ended it."""
    from vanta_scripts.commands.run_display import Display

    async def work(tell: Callable[[Verdict], None]) -> None:
        await suite.run(lambda script, turn: tell((script, turn)))

    watched: Interruptible[Verdict] = Interruptible(runtime.portal)
    if quiet:
        return watched.watch(work, lambda _: None)
    with Display(suite.turns) as display:
        return watched.watch(work, lambda verdict: display.show(*verdict))


def read_report(path: Path) -> dict[str, Any]:
    """A report that was saved. Raises typer's usage error for a file that is none."""
    report = read_json(path)
    if not isinstance(report, dict) or not {"figures", "scripts", "outcomes"} <= report.keys():
        raise typer.BadParameter(f"{path} is no report: make one with `vanta run --json`.")
    return report


def write_report(
    report: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    *,
    junit: Path | None,
    html: Path | None,
) -> None:
    """Write the files that were asked for."""
    from vanta_scripts.html import html as as_html
    from vanta_scripts.junit import junit as as_junit

    if junit:
        text = as_junit(report)
        write_file(junit, lambda path: path.write_text(text, encoding="utf-8"))
    if html:
        page = as_html(report, before=before)
        write_file(html, lambda path: path.write_text(page, encoding="utf-8"))


def _update(report: RunReport) -> None:
    from vanta_scripts.update import update_equals

    for place in update_equals(report.results):
        print_status(f"updated {place}")
