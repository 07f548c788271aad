"""The conformance suite of vector indexes: what every one must do, ours or a stranger's.

    from vanta.testing import IndexConformance

    class TestMyIndex(IndexConformance):
        @pytest.fixture
        def open_index(self, tmp_path):
            return lambda: MyIndex(tmp_path)

Each call of `open_index` gives an index that was not loaded yet, over the same data; a test opens
one at a time. Invariant: a test needs nothing else but the hints, and no hint weakens a rule of
`vanta.memory.index`.
"""

from __future__ import annotations

import pytest

from vanta.testing.conformance.index_finding import FindingTests
from vanta.testing.conformance.index_keeping import KeepingTests

__all__ = ["IndexConformance"]


class IndexConformance(FindingTests, KeepingTests):
    """Subclass it, give an `open_index` fixture, and set the hints that differ."""

    pytestmark = pytest.mark.anyio
