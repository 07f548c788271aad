"""What a key may use: requests and tokens per minute, and money."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.vanta_server.served import ask, served
from vanta import UsageError
from vanta.testing import ScriptedEngine
from vanta_server.errors import ApiError
from vanta_server.keys import KeyStore, ServerKey
from vanta_server.keys.rates import Bucket, Rates

pytestmark = pytest.mark.anyio

CENT_A_TOKEN = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 10_000.0}


def bearer(secret: str) -> dict[str, Any]:
    return {"headers": {"authorization": f"Bearer {secret}"}}


async def test_the_request_beyond_the_rate_waits_and_another_key_does_not(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        _, busy = server.keys.create("anna", requests_per_minute=2)
        _, other = server.keys.create("anna", requests_per_minute=1)
        answers = [await server.post(ask("Hello"), **bearer(busy)) for _ in range(3)]
        assert (await server.post(ask("Hello"), **bearer(other))).status_code == 200
        assert (await server.get("/v1/models", **bearer(busy))).status_code == 200
        async with server.client(busy) as client:
            with pytest.raises(openai.RateLimitError, match="2 requests per minute"):
                await client.chat.completions.create(**ask("Hello"))
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers.get("x-ratelimit-remaining-requests") for answer in answers[:2]] == [
        "1",
        "0",
    ]
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30


@pytest.mark.parametrize("streams", [False, True])
async def test_a_large_answer_takes_the_tokens_of_the_next_request(
    streams: bool, tmp_path: Path
) -> None:
    engine = ScriptedEngine(" ".join(["word"] * 200))
    async with served(tmp_path, local=engine) as server:
        _, secret = server.keys.create("anna", tokens_per_minute=100)
        first = await server.post(ask("Hello", stream=streams), **bearer(secret))
        second = await server.post(ask("Hello", stream=streams), **bearer(secret))
    assert (first.status_code, second.status_code) == (200, 429)
    assert "100 tokens per minute" in second.json()["error"]["message"]
    assert int(second.headers["retry-after"]) > 60


async def test_the_cap_of_a_key_stops_its_user_alone(tmp_path: Path) -> None:
    tracks: dict[str, Any] = {"api": {**CENT_A_TOKEN, "sampling": {"max_tokens": 4}}}
    async with served(
        tmp_path, api=ScriptedEngine("one two three"), tracks=tracks, policy="api"
    ) as server:
        _, capped = server.keys.create("anna", cap_usd=0.05)
        _, free = server.keys.create("ben")
        first = await server.post(ask("Hello"), **bearer(capped))
        second = await server.post(ask("Hello"), **bearer(capped))
        assert (await server.post(ask("Hello"), **bearer(free))).status_code == 200
    assert first.status_code == 200
    assert (second.status_code, second.json()["error"]["code"]) == (429, "insufficient_quota")


async def test_a_model_without_a_known_price_is_refused_under_the_cap_of_a_key(
    tmp_path: Path,
) -> None:
    tracks: dict[str, Any] = {"api": {"model": "of-no-list"}}
    async with served(tmp_path, api=ScriptedEngine("Hi"), tracks=tracks, policy="api") as server:
        _, capped = server.keys.create("anna", cap_usd=1.0)
        _, free = server.keys.create("ben")
        assert (await server.post(ask("Hello"), **bearer(free))).status_code == 200
        refused = await server.post(ask("Hello"), **bearer(capped))
    assert refused.status_code == 429
    assert "price" in refused.json()["error"]["message"]


def test_a_bucket_refills_evenly_and_never_beyond_its_rate() -> None:
    now = 0.0
    bucket = Bucket(60, lambda: now)
    bucket.take(90)
    assert (bucket.level, bucket.wait_s(1)) == (-30, 31)
    now = 31.0
    assert (bucket.level, bucket.wait_s(1)) == (1, 0)
    now = 1000.0
    assert bucket.level == 60


def test_over_any_time_no_more_requests_run_than_the_rate_and_one_bucket() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    key = ServerKey("k", "", "anna", requests_per_minute=30)
    admitted = 0
    for step in range(10_000):  # ten requests a second for 1,000 seconds
        now = step / 10
        with suppress(ApiError):
            rates.admit(key)
            admitted += 1
    assert 500 <= admitted <= 530


@pytest.mark.parametrize("limits", [{"requests_per_minute": 0}, {"cap_usd": -1.0}])
def test_a_limit_that_allows_nothing_is_refused(limits: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        KeyStore(tmp_path).create("anna", **limits)
    assert KeyStore(tmp_path).list() == ()


def test_keys_of_an_earlier_file_have_no_limits(tmp_path: Path) -> None:
    KeyStore(tmp_path).create("anna")
    path = tmp_path / "keys.json"
    entries = path.read_text()
    for name in ("requests_per_minute", "tokens_per_minute", "cap_usd"):
        entries = entries.replace(f',\n   "{name}": null', "")
    assert "cap_usd" not in entries
    path.write_text(entries)
    (key,) = KeyStore(tmp_path).list()
    assert (key.requests_per_minute, key.tokens_per_minute, key.cap_usd) == (None, None, None)
