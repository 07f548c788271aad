"""What is fitted once for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.routing import worlds
from vanta_tuning.fitting import Fitted, FittedGate, fit_gate, fit_router


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    return fit_router(worlds.outcomes(400), costs=(0.2,))


@pytest.fixture(scope="session")
def gate() -> FittedGate:
    return fit_gate(worlds.answers(1200))
