"""No way out: private text reaches no tool, track, server, embedder or log that is not private."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.privacy.leaks import paths_of_results, paths_of_text, paths_of_waiting
from tests.privacy.leaks.world import CANARY, SECRET, World, calls
from vanta.testing import Upstream

pytestmark = pytest.mark.anyio

PATHS = [*paths_of_text.PATHS, *paths_of_results.PATHS, *paths_of_waiting.PATHS]


def test_the_corpus_is_large_enough() -> None:
    assert len(PATHS) >= 40
    assert len({path.__name__ for path in PATHS}) == len(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_private_text_stays_on_this_machine(
    path: Callable[[World], Awaitable[None]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Upstream() as upstream:
        world = World(upstream, tmp_path, caplog)
        await path(world)
        assert any(CANARY in text for text in world.inside), "no private text was there"
        assert CANARY.lower() not in world.outside.lower()


async def test_text_that_is_not_private_does_arrive_outside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the other tests rely on: the tools send, the server records, the events are seen."""
    async with Upstream() as upstream:
        world = World(upstream, tmp_path, caplog)
        answer = calls(("post", {"text": SECRET}), ("look_up", {"text": CANARY}))
        async with world.open(answer) as runtime:
            await runtime.session("a").ask("Go on.", policy="local")
            await runtime.session("b").ask(f"Do you know {CANARY}?", policy="api")
    paths = [exchange.path.partition("?")[0] for exchange in upstream.exchanges]
    assert [path for path in paths if path != "/v1/models"] == [
        "/v1/notes",
        "/v1/look_up",
        "/v1/chat/completions",
    ]
    assert upstream.received.count(CANARY.encode()) == 3
    assert world.outside.count(CANARY) > 3
