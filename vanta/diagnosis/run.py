"""Running checks side by side, each with its own clock."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from vanta.check import Check, DiagnosisContext, Finding
from vanta.diagnosis import machine, native, recall, tracks


def builtin_checks(context: DiagnosisContext) -> list[Check]:
    """vanta's own checks: the machine, the plugins and their libraries, every track,
    memory."""
    return [
        Check("python", machine.python),
        Check("data folder", machine.data_folder),
        Check("memory", machine.memory),
        Check("cores", machine.cores),
        Check("plugins", tracks.plugins),
        *(tracks.library_check(factory) for factory in context.plugins.engines.values()),
        Check("llama.cpp", native.llama_cpp, timeout_s=30.0),
        Check("C++ compiler", native.compiler, timeout_s=30.0),
        *(tracks.model_check(name) for name in tracks.local_tracks(context)),
        *(tracks.access_check(name) for name in tracks.api_tracks(context)),
        *(recall.tokens_check(name) for name in tracks.api_tracks(context)),
        Check("recall", recall.recall),
        Check("tracks", tracks.tracks),
    ]


async def diagnose(context: DiagnosisContext, extra_checks: Iterable[Check] = ()) -> list[Finding]:
    """Run vanta's checks and the extra ones at once; their findings, in the order of the checks."""
    checks = [*builtin_checks(context), *extra_checks]
    findings: dict[int, Finding] = {}

    async def one(place: int, check: Check) -> None:
        findings[place] = await _finding(check, context)

    async with anyio.create_task_group() as group:
        for place, check in enumerate(checks):
            group.start_soon(one, place, check)
    return [findings[place] for place in range(len(checks))]


async def _finding(check: Check, context: DiagnosisContext) -> Finding:
    """What the check found, or what became of it; raises nothing."""
    try:
        with anyio.move_on_after(check.timeout_s):
            found = await check.run(context)
            if isinstance(found, Finding):
                return found
            return Finding(check.name, False, f"the check gave {found!r}, which is no Finding")
    except Exception as error:  # noqa: BLE001 - whatever a check does, the others are told
        return Finding(check.name, False, f"the check broke: {type(error).__name__}: {error}")
    return Finding(check.name, False, f"no result within {check.timeout_s:g} s")
