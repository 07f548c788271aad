"""The local embedders keep the contract of embedders."""

from __future__ import annotations

import pytest

from tests.embedders.conftest import Make
from vanta.memory import Embedder
from vanta.testing import EmbedderConformance


class TestMiniLm(EmbedderConformance):
    """Vectors do not depend on what else is in the batch."""

    tolerance = 1e-5

    @pytest.fixture
    def embedder(self, make: Make) -> Embedder:
        """A new embedder."""
        return make("minilm")
