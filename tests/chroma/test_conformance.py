"""Chroma keeps the contract of vector indexes, embedded and on a server."""

from __future__ import annotations

import pytest

from tests.chroma.conftest import OpenChroma
from vanta.testing import IndexConformance


@pytest.mark.one_loop
class TestEmbedded(IndexConformance):
    """Vectors in a folder."""


@pytest.mark.parametrize("anyio_backend", ["trio"])
class TestEmbeddedOnTrio:
    """What the event loop takes part in: callers that wait together, and that are cancelled."""

    pytestmark = pytest.mark.anyio
    test_callers = IndexConformance.test_concurrent_callers_get_their_own_results
    test_cancelled_callers = IndexConformance.test_a_cancelled_caller_does_not_affect_others
    test_closing = IndexConformance.test_records_last_after_closing
    lasting, patience_s, opened = (
        IndexConformance.lasting,
        IndexConformance.patience_s,
        IndexConformance.opened,
    )


@pytest.mark.one_loop
class TestOnAServer(IndexConformance):
    """Vectors on a server."""

    @pytest.fixture
    def open_index(self, open_index: OpenChroma, server: str) -> OpenChroma:
        return lambda: open_index(url=server)
