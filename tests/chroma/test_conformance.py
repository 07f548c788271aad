"""Chroma keeps to the contract of indexes: in a process of its own, and on a server."""

from __future__ import annotations

import pytest

from tests.chroma.conftest import OpenChroma
from vanta.testing import IndexConformance


class TestEmbedded(IndexConformance):
    """In a folder."""


class TestOnAServer(IndexConformance):
    """By HTTP."""

    @pytest.fixture
    def open_index(self, open_index: OpenChroma, server: str) -> OpenChroma:
        return lambda: open_index(url=server)
