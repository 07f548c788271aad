"""Selects the races that run on a clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scheduling.clock import jumping

JUMPING = {
    "test_policies",
    "test_refine_and_restart",
    "test_rule_3_takeover",
    "test_rule_4_failures",
    "test_rule_7_deadline",
}
"""Files of tests whose timers are close together."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str | tuple[str, dict[str, Any]]:
    """Both event loops, on a clock that jumps if timers are close together."""
    return jumping(request.param) if request.path.stem in JUMPING else str(request.param)
