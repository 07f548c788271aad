"""Chroma keeps the contract of vector indexes, embedded and on a server."""

from __future__ import annotations

import pytest

from tests.chroma.conftest import OpenChroma
from vanta.testing import IndexConformance


class TestEmbedded(IndexConformance):
    """Vectors in a folder."""


@pytest.mark.one_loop
class TestOnAServer(IndexConformance):
    """Vectors on a server."""

    @pytest.fixture
    def open_index(self, open_index: OpenChroma, server: str) -> OpenChroma:
        return lambda: open_index(url=server)
