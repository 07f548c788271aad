"""Running checks: side by side, each with its own clock, none able to spoil another."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest

from tests.diagnosis.conftest import MakeContext
from vanta.diagnosis import Check, DiagnosisContext, Finding, builtin_checks, diagnose

pytestmark = pytest.mark.anyio


async def test_every_check_gives_one_finding_in_order(context: MakeContext) -> None:
    made = context(tracks={"local": {"engine": "llamacpp", "model": "none"}})
    findings = await diagnose(made)
    assert [found.check for found in findings] == [check.name for check in builtin_checks(made)]
    assert "model of local" in [found.check for found in findings]
    json.dumps([found.to_dict() for found in findings])


async def test_extra_checks_run_beside_the_others(context: MakeContext) -> None:
    first_runs, second_runs = anyio.Event(), anyio.Event()

    async def first(_context: DiagnosisContext) -> Finding:
        first_runs.set()
        await second_runs.wait()
        return Finding("first", True, "met")

    async def second(_context: DiagnosisContext) -> Finding:
        second_runs.set()
        await first_runs.wait()
        return Finding("second", None, "met")

    findings = await diagnose(context(), [Check("first", first), Check("second", second)])
    assert [(found.check, found.ok) for found in findings[-2:]] == [
        ("first", True),
        ("second", None),
    ]


async def test_a_check_that_raises_hangs_or_gives_nonsense_is_a_failed_finding(
    context: MakeContext,
) -> None:
    async def raises(_context: DiagnosisContext) -> Finding:
        raise ZeroDivisionError("by a stranger")

    async def hangs(_context: DiagnosisContext) -> Finding:
        await anyio.sleep_forever()
        raise AssertionError

    async def nonsense(_context: DiagnosisContext) -> Finding:
        return None  # type: ignore[return-value]

    checks = [
        Check("raises", raises),
        Check("hangs", hangs, timeout_s=0.05),
        Check("nonsense", nonsense),
    ]
    findings = (await diagnose(context(), checks))[-3:]
    assert [(found.check, found.ok) for found in findings] == [
        ("raises", False),
        ("hangs", False),
        ("nonsense", False),
    ]
    assert "ZeroDivisionError: by a stranger" in findings[0].detail
    assert "0.05 s" in findings[1].detail
    assert "None" in findings[2].detail


async def test_a_context_never_shows_its_environment(context: MakeContext) -> None:
    made = replace(context(), environ={"OPENAI_API_KEY": "sk-very-secret"})
    assert "sk-very-secret" not in repr(made)
