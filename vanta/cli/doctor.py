"""`vanta doctor`: check what works on this machine and how to fix the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import Setup, load_setup

if TYPE_CHECKING:
    from vanta.diagnosis import Finding

app = typer.Typer()


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


async def _findings(setup: Setup) -> list[Finding]:
    from vanta.diagnosis import DiagnosisContext, diagnose

    tracks, off = setup.tracks()
    for track in tracks.values():
        await track.close()
    context = DiagnosisContext(setup.config, setup.plugins, setup.models, off)
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
