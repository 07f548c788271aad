"""Running all checks at the same time, each with its own time limit."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from vanta.check import Check, DiagnosisContext, Finding
from vanta.diagnosis import machine, tracks
from vanta.diagnosis.configuration import project
from vanta.diagnosis.learnt import learnt


def builtin_checks(context: DiagnosisContext) -> list[Check]:
    """Return vanta's own checks: the machine, plugins, libraries, tracks and memory."""
    return [
        Check("python", machine.python),
        Check("installation", machine.installation),
        Check("data folder", machine.data_folder),
        Check("project", project),
        Check("memory", machine.memory),
        Check("cores", machine.cores),
        Check("plugins", tracks.plugins),
        *(tracks.library_check(factory) for factory in context.plugins.engines.values()),
        Check("llama.cpp", machine.llama_cpp, timeout_s=30.0),
        Check("C++ compiler", machine.compiler, timeout_s=30.0),
        *(tracks.model_check(name) for name in tracks.local_tracks(context)),
        *(tracks.access_check(name) for name in tracks.api_tracks(context)),
        *(tracks.tokens_check(name) for name in tracks.api_tracks(context)),
        Check("recall", tracks.recall),
        Check("tracks", tracks.tracks),
        Check("learnt", learnt),
    ]


async def diagnose(context: DiagnosisContext, extra_checks: Iterable[Check] = ()) -> list[Finding]:
    """Run vanta's own checks and further ones at the same time.

    :param extra_checks: checks of plugins.
    :returns: the findings in the order of the checks; an error of a check is a finding.
    """
    checks = [*builtin_checks(context), *extra_checks]
    findings: dict[int, Finding] = {}

    async def run(place: int, check: Check) -> None:
        findings[place] = await _run(check, context)

    async with anyio.create_task_group() as group:
        for place, check in enumerate(checks):
            group.start_soon(run, place, check)
    return [findings[place] for place in range(len(checks))]


async def _run(check: Check, context: DiagnosisContext) -> Finding:
    try:
        with anyio.move_on_after(check.timeout_s):
            finding = await check.run(context)
            if isinstance(finding, Finding):
                return finding
            problem = f"the check returned {finding!r}, which is not a Finding"
            return Finding(check.name, False, problem)
    except Exception as error:  # noqa: BLE001 - an error of one check must not end the others
        return Finding(check.name, False, f"the check failed: {type(error).__name__}: {error}")
    return Finding(check.name, False, f"no result within {check.timeout_s:g} s")
