"""What the tests of the built-in tools share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vanta_tools.pages import PageServer, serve_pages


@pytest.fixture
def pages() -> Iterator[PageServer]:
    """Run a web server on loopback."""
    with serve_pages() as server:
        yield server
