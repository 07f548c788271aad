"""The verdict on a turn: every expectation asked, none able to break another.

Invariant: what a check raises is a failure of that expectation; a turn that raised is judged by
its expectation `error` alone, and fails without one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from vanta.errors import VantaError
from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.expectations import excerpt, listed


async def judge(
    expect: Mapping[str, Any], seen: Seen, expectations: Mapping[str, Expectation]
) -> tuple[Failure, ...]:
    """What does not hold of `seen`."""
    verdicts = [await _ask(expectations[name], value, seen) for name, value in expect.items()]
    return tuple(failure for failure in verdicts if failure)


def judge_error(
    expect: Mapping[str, Any], error: VantaError
) -> tuple[tuple[Failure, ...], str | None]:
    """The failures of a turn that raised `error`, and the error if it was not expected."""
    wanted = expect.get("error")
    if wanted is None:
        return (), str(error)
    missing = [part for part in wanted if part not in str(error)]
    if not missing:
        return (), None
    expected = f"an error that contains {listed(missing, 'and')}"
    return (Failure("error", expected, excerpt(str(error))),), None


async def _ask(expectation: Expectation, value: Any, seen: Seen) -> Failure | None:
    try:
        verdict = expectation.check(value, seen)
        return await verdict if inspect.isawaitable(verdict) else verdict
    except Exception as error:  # noqa: BLE001 - a check may be a plugin's, and others go on
        expected = f"a verdict from expectation {expectation.name!r}"
        return Failure(expectation.name, expected, f"an error in it: {_told(error)}")


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, VantaError) else f"{type(error).__name__}: {error}"
