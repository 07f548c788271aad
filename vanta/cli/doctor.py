"""`vanta doctor`: what works on this machine, what is missing, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vanta.cli import output, tables
from vanta.cli.ground import Ground, ground

if TYPE_CHECKING:
    from vanta.diagnosis import Finding

app = typer.Typer()


@app.command()
def doctor(json: output.JsonOption = False, config: output.ConfigOption = None) -> None:
    """See what works on this machine, what is missing, and the command that mends it.

    Ends in 1 if something is broken; what is merely not there is not. --json: an object with ok and
    findings: objects with check, ok (null: optional and not there), detail and mend.
    """
    import anyio

    findings = anyio.run(_findings, ground(config, strict=False))
    broken = [finding for finding in findings if finding.ok is False]
    if json:
        told = [finding.to_dict() for finding in findings]
        output.print_json({"ok": not broken, "findings": told})
    else:
        _show(findings, broken)
    if broken:
        raise typer.Exit(output.ExitCode.FAILED)


async def _findings(here: Ground) -> list[Finding]:
    from vanta.diagnosis import DiagnosisContext, diagnose

    tracks, off = here.tracks()
    for track in tracks.values():
        await track.engine.aclose()
    context = DiagnosisContext(here.config, here.plugins, here.models, off)
    return await diagnose(context, here.plugins.checks.values())


def _show(findings: list[Finding], broken: list[Finding]) -> None:
    rows = []
    for finding in findings:
        mend = f"\nmend: {finding.mend}" if finding.mend else ""
        rows.append(
            (tables.mark(finding.ok, ("ok", "broken", "-")), finding.check, finding.detail + mend)
        )
    tables.show(("", "", ""), rows)
    if broken:
        names = ", ".join(finding.check for finding in broken)
        tables.line(f"{len(broken)} of {len(findings)} need mending: {names}")
    else:
        tables.line("all that is needed works")
