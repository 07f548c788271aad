"""`vanta doctor`: check what works on this machine and how to fix the rest.

`vanta learnt`: what running processes have learnt about tracks, and how to make them forget it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import Setup, load_setup

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.diagnosis import Finding
    from vanta.learning import Learnt

app = typer.Typer()
learnt = typer.Typer(no_args_is_help=True, help="List what was learnt about tracks, or forget it.")


@app.command()
def doctor(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check what works on this machine and how to fix the rest.

    The exit code is 1 if something is broken; something optional that is missing is not. --json: an
    object with ok and findings: objects with check, ok (null: optional and missing), detail and
    fix.
    """
    import anyio

    findings = anyio.run(_findings, load_setup(config, strict=False))
    broken = [finding for finding in findings if finding.ok is False]
    if json:
        items = [finding.to_dict() for finding in findings]
        output.print_json({"ok": not broken, "findings": items})
    else:
        _show(findings, broken)
    if broken:
        raise typer.Exit(output.ExitCode.FAILED)


@learnt.command("list")
def list_learnt(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List what running processes have learnt about tracks, and for how long they believe it.

    --json: a list of objects with track, what, detail and left_s.
    """
    import dataclasses

    import anyio

    from vanta.diagnosis import sentence

    facts = anyio.run(_learnt, load_setup(config, strict=False).config)
    if json:
        output.print_json([dataclasses.asdict(fact) for fact in facts])
        return
    for fact in facts:
        output.print_line(f"{sentence(fact)} [{fact.what}]")
    if not facts:
        output.print_line("nothing: no answer of a server limits a track")


@learnt.command()
def forget(
    track: Annotated[
        str | None, typer.Argument(metavar="[TRACK]", help="The track; without it, all.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make running processes forget what they have learnt, each with its next turn."""
    import anyio

    count = anyio.run(_forget, load_setup(config, strict=False).config, track)
    of_track = f" about track {track!r}" if track else ""
    output.print_line(f"{count} facts{of_track} are forgotten with the next turns")


async def _learnt(config: Config) -> Sequence[Learnt]:
    from vanta.diagnosis import open_board

    store, board = await open_board(config)
    try:
        return await board.read()
    finally:
        await store.aclose()


async def _forget(config: Config, track: str | None) -> int:
    from vanta.diagnosis import open_board

    store, board = await open_board(config)
    try:
        return await board.forget(track)
    finally:
        await store.aclose()


async def _findings(setup: Setup) -> list[Finding]:
    from vanta.diagnosis import DiagnosisContext, diagnose

    tracks, off = setup.tracks()
    for track in tracks.values():
        await track.close()
    context = DiagnosisContext(setup.config, setup.plugins, setup.models, off, setup.loaded.trust)
    return await diagnose(context, setup.plugins.checks.values())


def _show(findings: list[Finding], broken: list[Finding]) -> None:
    rows = []
    for finding in findings:
        fix = f"\nfix: {finding.fix}" if finding.fix else ""
        verdict = output.status_cell(finding.ok, ("ok", "broken", "-"))
        rows.append((verdict, finding.check, finding.detail + fix))
    output.print_table(("", "", ""), rows)
    if broken:
        names = ", ".join(finding.check for finding in broken)
        output.print_line(f"{len(broken)} of {len(findings)} checks failed: {names}")
    else:
        output.print_line("everything that is needed works")
