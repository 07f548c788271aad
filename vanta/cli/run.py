"""`vanta run`: scripted conversations, judged turn by turn.

Invariant: every script is read and checked before the first turn of any runs; the exit code is 0
only if every turn of every script passed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.turn_options import PolicyOption, TrackOption, check_choice

if TYPE_CHECKING:
    from vanta.runtime import Opening, Runtime
    from vanta.scripts import Script, ScriptResult, TurnResult

    Verdict = tuple[Script, TurnResult]

app = typer.Typer()


@app.command()
def run(
    scripts: Annotated[
        list[Path], typer.Argument(metavar="SCRIPT...", help="YAML (or JSON) files.")
    ],
    track: TrackOption = None,
    policy: PolicyOption = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Run scripted conversations and judge the replies.

    --track and --policy go before the scripts' own; a turn that names its own keeps it.
    Exit code: 0 if every turn passed, 1 if one did not, 2 if a script or an option has to be
    changed, 3 if nothing could be run.
    """
    check_choice(track, policy)
    from vanta.errors import VantaError
    from vanta.scripts import exit_code, exit_code_of

    opening = output.open_runtime(config)
    try:
        results = _run_all(opening, scripts, lambda s: _recast(s, track, policy), quiet=json)
    except VantaError as error:
        output.print_error(error)
        raise typer.Exit(exit_code_of(error)) from None
    code = exit_code(results)
    if json:
        told = [result.to_dict() for result in results]
        output.print_json({"passed": code == 0, "scripts": told})
    else:
        _conclude(results)
    raise typer.Exit(code)


def _run_all(
    opening: Opening, paths: Sequence[Path], recast: Callable[[Script], Script], *, quiet: bool
) -> list[ScriptResult]:
    from vanta.cli.interruptible import Interruptible
    from vanta.scripts import run_script

    results: list[ScriptResult] = []
    with opening as runtime:
        scripts = _read(paths, runtime.runtime, recast)

        async def work(tell: Callable[[Verdict], None]) -> None:
            for script in scripts:
                result = await run_script(
                    runtime.runtime, script, progress=lambda script, turn: tell((script, turn))
                )
                results.append(result)

        watched: Interruptible[Verdict] = Interruptible(runtime.portal)
        if not watched.watch(work, lambda told: None if quiet else _say_verdict(*told)):
            raise KeyboardInterrupt
    return results


def _read(
    paths: Sequence[Path], runtime: Runtime, recast: Callable[[Script], Script]
) -> list[Script]:
    """All scripts, recast and checked. Raises ScriptError, UnknownName."""
    from vanta.scripts import known_expectations, load_script

    known = known_expectations(runtime.plugins)
    scripts = [recast(load_script(path, known)) for path in paths]
    for script in scripts:
        _check_names(script, runtime)
    return scripts


def _recast(script: Script, track: str | None, policy: str | None) -> Script:
    """`script` with the track or the policy of the command line in the place of its own."""
    if track is None and policy is None:
        return script
    return dataclasses.replace(script, track=track, policy=policy)


def _check_names(script: Script, runtime: Runtime) -> None:
    """Raises UnknownName for a track or a policy that does not exist, before any turn runs."""
    from vanta.errors import UnknownName

    for policy in (script.policy, *(turn.policy for turn in script.turns)):
        if policy is not None and policy not in runtime.policies:
            raise UnknownName("policy", policy, runtime.policies)
    tracks = {*runtime.tracks, *runtime.off}
    for track in (script.track, *(turn.track for turn in script.turns)):
        if track is not None and track not in tracks:
            raise UnknownName("track", track, tracks)


def _say_verdict(script: Script, turn: TurnResult) -> None:
    """A line for a turn that passed, what was expected and what came for one that did not."""
    from rich.text import Text

    from vanta.cli.narration import seconds

    sign = Text("✓ ", "green") if turn.passed else Text("✗ ", "bold red")
    line = sign.append(f"{script.name} ", "bold").append(
        output.harmless(turn.describe()), "not bold default"
    )
    if turn.reply:
        duration = seconds(turn.reply.timings.duration_s)
        line.append(f"  ({turn.reply.track}, {duration})", "not bold dim")
    output.stdout().print(line, soft_wrap=True)


def _conclude(results: Sequence[ScriptResult]) -> None:
    from vanta.cli.narration import money, seconds

    for result in results:
        passed = sum(turn.passed for turn in result.turns)
        style = "green" if result.passed else "bold red"
        duration = seconds(result.duration_s)
        line = f"{result.name}: {passed} of {len(result.turns)} turns passed in {duration}"
        output.stdout().print(f"{line}, {money(result.cost_usd)}", style=style, markup=False)
