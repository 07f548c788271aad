"""Whether the server answers: asked seldom, explained always, never an exception."""

from __future__ import annotations

import json

import pytest

from tests.openai.support import RawServer, engine_at
from vanta.engine import EngineModel, Health
from vanta.errors import EngineError, ErrorKind
from vanta.testing import Behaviour, Upstream, nothing_listens
from vanta_openai.availability import FRESH_S, RETRY_S, Availability

pytestmark = pytest.mark.anyio


class Checks:
    """Counts the checks of an `Availability`, on a clock that the test sets."""

    def __init__(self, *results: bool) -> None:
        self.results = list(results)
        self.made = 0
        self.now_s = 100.0
        self.availability = Availability(self._check, lambda: self.now_s)

    async def _check(self) -> Health:
        self.made += 1
        return Health(self.results.pop(0), "said")


async def test_a_good_result_is_believed_for_a_minute() -> None:
    checks = Checks(True, True)
    await checks.availability.get()
    checks.now_s += FRESH_S - 1
    assert await checks.availability.get() == Health(True, "said", FRESH_S - 1)
    assert checks.made == 1
    checks.now_s += 2
    assert (await checks.availability.get()).age_s == 0
    assert checks.made == 2


async def test_a_bad_result_is_looked_into_after_half_a_minute() -> None:
    checks = Checks(False, True)
    await checks.availability.get()
    checks.now_s += RETRY_S - 1
    assert not (await checks.availability.get()).ok
    assert checks.made == 1
    checks.now_s += 2
    assert (await checks.availability.get()).ok


async def test_force_asks_at_once() -> None:
    checks = Checks(True, False)
    await checks.availability.get()
    assert not (await checks.availability.get(force=True)).ok


async def test_a_server_that_answers_is_well_and_asked_once() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
        assert health == Health(True, f"{upstream.base_url} answers")
        await engine.health()
        assert [e.path for e in upstream.exchanges] == ["/v1/models"]
        await engine.health(force=True)
        assert len(upstream.exchanges) == 2


async def test_a_model_that_is_not_listed_is_mentioned() -> None:
    async with Upstream(models=("other",)) as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
    assert health.ok
    assert "does not list the model 'test-model'" in health.detail


async def test_a_server_without_a_list_is_there_all_the_same() -> None:
    listing = Behaviour.failure(404, "no such page")
    async with Upstream(listing=listing) as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
    assert health.ok
    assert "lists no models" in health.detail


@pytest.mark.parametrize(
    ("listing", "word"),
    [
        (Behaviour.unauthorized(), "auth"),
        (Behaviour.failure(503, "Loading model"), "loading"),
        (Behaviour.server_error(), "server"),
        (Behaviour.refused(), "network"),
    ],
)
async def test_a_server_that_cannot_answer_is_unwell_and_says_why(
    listing: Behaviour, word: str
) -> None:
    async with Upstream(listing=listing) as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
    assert not health.ok
    assert health.detail.startswith(f"{word}: ")


async def test_no_server_is_unwell() -> None:
    with nothing_listens() as url:
        async with engine_at(url) as engine:
            health = await engine.health()
    assert not health.ok
    assert url in health.detail


async def test_windows_are_read_under_the_names_that_servers_use() -> None:
    entries = [
        {"id": "test-model", "max_model_len": 4096},
        {"id": "b", "context_length": 8192},
        {"id": "c", "context_window": "large"},
    ]
    body = json.dumps({"object": "list", "data": entries})
    async with (
        RawServer(body, content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        assert engine.window is None
        listed = await engine.models()
        assert engine.window == 4096
    assert [(m.id, m.window) for m in listed] == [("test-model", 4096), ("b", 8192), ("c", None)]


async def test_a_list_of_nothing_is_an_empty_list() -> None:
    async with (
        RawServer('{"object": "list", "data": null}', content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        assert list[EngineModel](await engine.models()) == []


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": 3}', "", "\udcff"])
async def test_what_is_no_list_of_models_is_a_server_error(body: str) -> None:
    raw = body.encode(errors="surrogateescape")
    async with (
        RawServer(raw, content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="base_url") as caught:
            await engine.models()
        assert not (await engine.health(force=True)).ok
    assert caught.value.kind is ErrorKind.SERVER
