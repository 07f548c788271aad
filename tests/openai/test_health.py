"""Health checks: rare, always explained, never an exception."""

from __future__ import annotations

import json

import pytest

from tests.openai.support import RawServer, engine_at
from vanta.engine import EngineModel, Health
from vanta.errors import EngineError, ErrorKind
from vanta.testing import Behaviour, Upstream, nothing_listens
from vanta_openai.connection import FRESH_S, RETRY_S, Availability

pytestmark = pytest.mark.anyio


class Checks:
    """Counts the checks of an `Availability` whose clock the test sets."""

    def __init__(self, *results: bool) -> None:
        self.results = list(results)
        self.made = 0
        self.now_s = 100.0
        self.availability = Availability(self._check, lambda: self.now_s)

    async def _check(self) -> Health:
        self.made += 1
        return Health(self.results.pop(0), "detail")


async def test_a_good_result_is_reused_for_a_minute() -> None:
    checks = Checks(True, True)
    await checks.availability.get()
    checks.now_s += FRESH_S - 1
    assert await checks.availability.get() == Health(True, "detail", FRESH_S - 1)
    assert checks.made == 1
    checks.now_s += 2
    assert (await checks.availability.get()).age_s == 0
    assert checks.made == 2


async def test_a_bad_result_is_checked_again_after_half_a_minute() -> None:
    checks = Checks(False, True)
    await checks.availability.get()
    checks.now_s += RETRY_S - 1
    assert not (await checks.availability.get()).ok
    assert checks.made == 1
    checks.now_s += 2
    assert (await checks.availability.get()).ok


async def test_force_checks_at_once() -> None:
    checks = Checks(True, False)
    await checks.availability.get()
    assert not (await checks.availability.get(force=True)).ok


async def test_a_server_that_answers_is_healthy_and_checked_once() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
        assert health == Health(True, f"{upstream.base_url} answers")
        await engine.health()
        assert [exchange.path for exchange in upstream.exchanges] == ["/v1/models"]
        await engine.health(force=True)
        assert len(upstream.exchanges) == 2


async def test_a_model_that_is_not_listed_is_mentioned() -> None:
    async with Upstream(models=("other",)) as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
    assert health.ok
    assert "does not list the model 'test-model'" in health.detail


async def test_a_server_without_a_list_of_models_is_healthy() -> None:
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
async def test_a_server_that_cannot_answer_is_unhealthy_with_the_reason(
    listing: Behaviour, word: str
) -> None:
    async with Upstream(listing=listing) as upstream, engine_at(upstream.base_url) as engine:
        health = await engine.health()
    assert not health.ok
    assert health.detail.startswith(f"{word}: ")


async def test_a_missing_server_is_unhealthy() -> None:
    with nothing_listens() as url:
        async with engine_at(url) as engine:
            health = await engine.health()
    assert not health.ok
    assert url in health.detail


async def test_windows_are_read_from_the_fields_that_servers_use() -> None:
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
        models = await engine.models()
        assert engine.window == 4096
    assert [(model.id, model.window) for model in models] == [
        ("test-model", 4096),
        ("b", 8192),
        ("c", None),
    ]


async def test_a_null_list_of_models_is_an_empty_list() -> None:
    async with (
        RawServer('{"object": "list", "data": null}', content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        assert list[EngineModel](await engine.models()) == []


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": 3}', "", "\udcff"])
async def test_an_answer_that_is_not_a_list_of_models_is_a_server_error(body: str) -> None:
    raw = body.encode(errors="surrogateescape")
    async with (
        RawServer(raw, content_type="application/json") as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="base_url") as caught:
            await engine.models()
        assert not (await engine.health(force=True)).ok
    assert caught.value.kind is ErrorKind.SERVER
