"""Every failure has a kind, and says where it happened and what to do."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import anyio
import pytest

from tests.openai.support import RawServer, answer_of, engine_at, request
from vanta.engine import Sampling
from vanta.errors import EngineError, ErrorKind
from vanta.testing import Behaviour, Upstream, nothing_listens

pytestmark = pytest.mark.anyio


async def error_of(behaviour: Behaviour) -> EngineError:
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
        assert len(upstream.chats) == 1, "an engine never retries"
        assert caught.value.server == upstream.base_url
    return caught.value


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (Behaviour.unauthorized(), ErrorKind.AUTH),
        (Behaviour.failure(403, "not for you"), ErrorKind.AUTH),
        (Behaviour.not_found(), ErrorKind.MODEL_NOT_FOUND),
        (Behaviour.failure(400, "The model `x` does not exist"), ErrorKind.MODEL_NOT_FOUND),
        (Behaviour.rate_limited(), ErrorKind.RATE_LIMITED),
        (Behaviour.failure(402, "Insufficient credits"), ErrorKind.RATE_LIMITED),
        (Behaviour.context_overflow(), ErrorKind.CONTEXT_OVERFLOW),
        (
            Behaviour.failure(400, "the request exceeds the available context size, increase it"),
            ErrorKind.CONTEXT_OVERFLOW,
        ),
        (
            Behaviour.failure(400, "x", kind="exceed_context_size_error", code=400),
            ErrorKind.CONTEXT_OVERFLOW,
        ),
        (
            Behaviour.failure(
                400, "This model's maximum context length is 2048 tokens.", shape="string"
            ),
            ErrorKind.CONTEXT_OVERFLOW,
        ),
        (
            Behaviour.failure(
                400, "Trying to keep the first 5000 tokens when context the overflows."
            ),
            ErrorKind.CONTEXT_OVERFLOW,
        ),
        (
            Behaviour.failure(422, "`inputs` tokens + `max_new_tokens` must be <= 4096"),
            ErrorKind.CONTEXT_OVERFLOW,
        ),
        (Behaviour.failure(503, "Loading model", code=503), ErrorKind.LOADING),
        (Behaviour.failure(503, "busy"), ErrorKind.OVERLOADED),
        (Behaviour.failure(529, "busy"), ErrorKind.OVERLOADED),
        (Behaviour.failure(400, "temperature must be at most 2"), ErrorKind.BAD_REQUEST),
        (Behaviour.failure(422, "field required"), ErrorKind.BAD_REQUEST),
        (
            Behaviour.failure(400, "Unsupported parameter: 'logprobs'", code="unsupported_value"),
            ErrorKind.UNSUPPORTED,
        ),
        (Behaviour.failure(501, "no tools here"), ErrorKind.UNSUPPORTED),
        (Behaviour.failure(504, "gateway"), ErrorKind.TIMEOUT),
        (Behaviour.server_error(), ErrorKind.SERVER),
        (Behaviour.failure(500, "boom", shape="string"), ErrorKind.SERVER),
        (Behaviour.failure(500, "boom", shape="wrapped", code=17), ErrorKind.SERVER),
        (Behaviour.refused(), ErrorKind.NETWORK),
        (Behaviour.cut(1), ErrorKind.NETWORK),
        (Behaviour.cut(0), ErrorKind.NETWORK),
    ],
)
async def test_a_failure_has_its_kind_and_names_engine_model_and_server(
    behaviour: Behaviour, kind: ErrorKind
) -> None:
    error = await error_of(behaviour)
    assert error.kind is kind
    assert (error.engine, error.model) == ("openai", "test-model")
    assert error.suggestion
    assert error.__cause__ is not None


async def test_the_servers_message_is_quoted() -> None:
    error = await error_of(Behaviour.failure(400, "temperature must be at most 2"))
    assert "HTTP 400: temperature must be at most 2" in str(error)


@pytest.mark.parametrize(
    ("behaviour", "advice"),
    [
        (Behaviour.unauthorized(), "OPENAI_API_KEY"),
        (Behaviour.failure(404, "Not Found"), "base_url"),
        (Behaviour.not_found(), "lists"),
        (Behaviour.failure(429, "You exceeded", code="insufficient_quota"), "money"),
        (Behaviour.failure(400, "Unknown parameter: 'stream_options'"), "include_usage"),
        (
            Behaviour.failure(
                400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            ),
            "max_tokens_field",
        ),
        (Behaviour.context_overflow(), "window"),
    ],
)
async def test_the_suggestion_names_what_to_change(behaviour: Behaviour, advice: str) -> None:
    assert advice in (await error_of(behaviour)).suggestion


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), (None, None), ("soon", None), ("-3", None)]
)
async def test_retry_after_in_seconds_is_kept(header: str | None, seconds: float | None) -> None:
    assert (await error_of(Behaviour.rate_limited(header))).retry_after_s == seconds


async def test_retry_after_as_a_date_is_kept_as_seconds_from_now() -> None:
    header = formatdate(time.time() + 3600, usegmt=True)
    waits = (await error_of(Behaviour.rate_limited(header))).retry_after_s
    assert waits is not None
    assert 3000 < waits <= 3600


async def test_retry_after_in_the_past_is_zero() -> None:
    header = formatdate(time.time() - 3600, usegmt=True)
    assert (await error_of(Behaviour.rate_limited(header))).retry_after_s == 0


async def test_retry_after_ms_takes_precedence() -> None:
    behaviour = Behaviour.rate_limited("9").but(
        headers={"retry-after-ms": "250", "retry-after": "9"}
    )
    assert (await error_of(behaviour)).retry_after_s == 0.25


async def test_an_html_error_page_is_not_quoted() -> None:
    async with (
        RawServer("<html>Bad Gateway</html>", status=502, content_type="text/html") as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="HTTP 502: an HTML page") as caught:
            await answer_of(engine)
    assert caught.value.kind is ErrorKind.SERVER


async def test_a_refused_connection_is_a_network_error() -> None:
    with nothing_listens() as url:
        async with engine_at(url) as engine:
            with pytest.raises(EngineError, match="no connection") as caught:
                await answer_of(engine)
    assert caught.value.kind is ErrorKind.NETWORK
    assert "base_url" in caught.value.suggestion


async def test_a_silent_server_times_out_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # TLS waits for its hello
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        async with engine_at(url, connect_timeout_s=0.05) as engine:
            with pytest.raises(EngineError) as caught:
                await answer_of(engine)
    assert caught.value.kind is ErrorKind.TIMEOUT
    assert "connect_timeout_s" in caught.value.suggestion


async def test_slow_headers_are_not_bounded_by_the_connect_timeout() -> None:
    slow = Behaviour.answer("there", headers_after_s=1.5)
    async with (
        Upstream(slow) as upstream,
        engine_at(upstream.base_url, connect_timeout_s=1.0) as engine,
    ):
        assert (await answer_of(engine)).text == "there"


async def test_half_of_a_surrogate_pair_is_sent_as_the_replacement_character() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        await answer_of(engine, request("half a pair: \ud83d"))
        (sent,) = upstream.chats
    assert sent.body["messages"][-1]["content"] == "half a pair: \ufffd"


async def test_a_schema_that_is_not_json_is_a_bad_request() -> None:
    generation = request(sampling=Sampling(json_schema={"type": object()}))
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        with pytest.raises(EngineError) as caught:
            await answer_of(engine, generation)
    assert caught.value.kind is ErrorKind.BAD_REQUEST


async def test_the_error_is_json_ready() -> None:
    error = await error_of(Behaviour.rate_limited("2"))
    assert error.to_dict()["kind"] == "rate_limited"
    assert error.to_dict()["retry_after_s"] == 2.0


async def test_many_failures_leave_the_pool_usable() -> None:
    script = [
        Behaviour.server_error(),
        Behaviour.cut(1),
        Behaviour.refused(),
        Behaviour.answer("ok"),
    ]
    async with Upstream(*script) as upstream, engine_at(upstream.base_url) as engine:
        for _ in script[:-1]:
            with pytest.raises(EngineError):
                await answer_of(engine)
        with anyio.fail_after(5):
            assert (await answer_of(engine)).text == "ok"
