"""The embedders of this machine, held to what every embedder must do."""

from __future__ import annotations

import pytest

from tests.embedders.conftest import Make
from vanta.memory.embedder import Embedder
from vanta.testing import EmbedderConformance


class TestMiniLm(EmbedderConformance):
    """All in one precision, whatever is computed beside it."""

    tolerance = 1e-5

    @pytest.fixture
    def embedder(self, make: Make) -> Embedder:
        """A fresh one."""
        return make("minilm")
