"""The server with faults, used by real clients over real sockets."""

from __future__ import annotations

import base64
import json
import struct
import threading

import anyio
import httpx2
import pytest
from openai import AsyncOpenAI

from vanta.testing import Behaviour, HashEmbedder, Upstream, nothing_listens

pytestmark = pytest.mark.anyio
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**ASK, "stream": True, "stream_options": {"include_usage": True}}


def frames(body: str) -> list[str]:
    return [line.removeprefix("data: ") for line in body.splitlines() if line]


async def post(upstream: Upstream, body: dict[str, object] = STREAM) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.post(f"{upstream.base_url}/chat/completions", json=body)


# On trio the SDK leaves its own async generators to the collector once it has seen [DONE].
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_official_client_reads_a_streamed_answer() -> None:
    answer = Behaviour.answer("one two three", reasoning="hm", logprobs=(-0.1, -0.2, -0.3))
    async with Upstream(answer) as upstream:
        client = AsyncOpenAI(api_key="sk-x", base_url=upstream.base_url, max_retries=0)
        async with client:
            stream = await client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "hi"}],
                stream=True,
                logprobs=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "one two three"
    assert choices[-1].finish_reason == "stop"
    logprobs = [t.logprob for c in choices if c.logprobs for t in c.logprobs.content or ()]
    assert logprobs == [-0.1, -0.2, -0.3]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    exchange = upstream.chats[0]
    assert exchange.complete
    assert exchange.authorized_with("sk-x")
    assert not exchange.authorized_with("sk-y")


async def test_the_official_client_reads_a_whole_answer_and_a_tool_call() -> None:
    call = Behaviour.calls("add", '{"a": 1}')
    async with Upstream(Behaviour.answer("one two"), call) as upstream:
        client = AsyncOpenAI(api_key="sk-x", base_url=upstream.base_url, max_retries=0)
        async with client:
            first, second = [
                await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "hi"}]
                )
                for _ in range(2)
            ]
    assert first.choices[0].message.content == "one two"
    assert first.usage is not None
    assert first.usage.completion_tokens == 2
    (tool_call,) = list(second.choices[0].message.tool_calls or ())
    assert tool_call.type == "function"
    assert (tool_call.function.name, tool_call.function.arguments) == ("add", '{"a": 1}')
    assert second.choices[0].finish_reason == "tool_calls"


async def test_behaviours_are_used_in_order_and_the_last_one_repeats() -> None:
    async with Upstream(default=Behaviour.answer("never")) as upstream:
        upstream.then(Behaviour.server_error(), Behaviour.answer("fine"))
        statuses = [(await post(upstream)).status_code for _ in range(3)]
    assert statuses == [500, 200, 200]


async def test_role_empty_deltas_usage_and_done_are_sent_as_configured() -> None:
    async with Upstream(
        Behaviour.answer("a", empty_deltas=2),
        Behaviour.answer("a", role_delta=False, usage=False, done=False),
    ) as upstream:
        full, bare = [frames((await post(upstream)).text) for _ in range(2)]
    assert len(full) == 1 + 2 + 1 + 1 + 1 + 1
    assert full[-1] == "[DONE]"
    assert [json.loads(f)["choices"][0]["finish_reason"] for f in bare] == [None, "stop"]


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (Behaviour.unauthorized(), 401, "invalid_api_key"),
        (Behaviour.not_found(), 404, "model_not_found"),
        (Behaviour.rate_limited(code=429), 429, 429),
        (Behaviour.server_error(503), 503, None),
        (Behaviour.context_overflow(), 400, "context_length_exceeded"),
    ],
)
async def test_an_error_status_has_the_configured_code(
    behaviour: Behaviour, status: int, error: int | str | None
) -> None:
    async with Upstream(behaviour) as upstream:
        response = await post(upstream)
    assert response.status_code == status
    assert response.json()["error"]["code"] == error
    assert response.headers.get("retry-after") == ("2" if status == 429 else None)


async def test_an_error_can_be_a_bare_string() -> None:
    async with Upstream(Behaviour.server_error(shape="string")) as upstream:
        response = await post(upstream)
    assert isinstance(response.json()["error"], str)


async def test_a_refused_request_is_reset_without_a_response() -> None:
    async with Upstream(Behaviour.refused()) as upstream:
        with pytest.raises(httpx2.ReadError):
            await post(upstream)


async def test_a_port_where_nothing_listens_refuses_connections() -> None:
    with nothing_listens() as url:
        async with httpx2.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get(url)


@pytest.mark.parametrize("body", [STREAM, ASK])
async def test_a_cut_answer_breaks_in_the_middle_of_a_frame(body: dict[str, object]) -> None:
    async with Upstream(Behaviour.cut(2)) as upstream:
        with pytest.raises(httpx2.ReadError):
            await post(upstream, body)
        assert upstream.chats[0].tokens_sent == 2
        assert not upstream.chats[0].complete


async def test_a_cut_answer_can_break_after_its_last_token() -> None:
    async with Upstream(Behaviour.cut(1, "one")) as upstream:
        with pytest.raises(httpx2.ReadError):
            await post(upstream)
        assert upstream.chats[0].text_sent == "one"


async def test_a_malformed_frame_follows_the_configured_tokens() -> None:
    async with Upstream(Behaviour.malformed(1, role_delta=False)) as upstream:
        lines = frames((await post(upstream)).text)
    json.loads(lines[0])
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(lines[1])


async def test_an_error_frame_ends_an_answer_that_began_with_200() -> None:
    async with Upstream(Behaviour.error_frame(1, code="x", role_delta=False)) as upstream:
        response = await post(upstream)
    lines = frames(response.text)
    assert response.status_code == 200
    assert json.loads(lines[-1])["error"]["code"] == "x"
    assert len(lines) == 2


async def test_a_gate_holds_the_headers_and_each_token_back() -> None:
    head, second = anyio.Event(), anyio.Event()
    answer = Behaviour.answer("one two", headers_gate=head, gates={1: second}, role_delta=False)
    async with (
        Upstream(answer) as upstream,
        httpx2.AsyncClient(trust_env=False) as client,
        anyio.create_task_group() as tasks,
    ):

        async def open_gates() -> None:
            exchange = await upstream.chat(0)
            assert exchange.status is None
            head.set()
            await exchange.reached(1)
            seen.append(exchange.text_sent)
            second.set()

        seen: list[str] = []
        tasks.start_soon(open_gates)
        response = await client.post(f"{upstream.base_url}/chat/completions", json=STREAM)
    assert seen == ["one"]
    assert len(frames(response.text)) == 5


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.stall(2),
        Behaviour.stall(0),
        Behaviour.answer("a b", gap_s=1000),
        Behaviour.answer("a b", ttft_s=1000),
        Behaviour.answer("a b", headers_after_s=1000),
    ],
    ids=["stall", "stall at once", "gap", "first token", "headers"],
)
async def test_a_client_that_disconnects_is_noticed_while_the_server_waits(
    behaviour: Behaviour,
) -> None:
    async with Upstream(behaviour) as upstream:
        with anyio.move_on_after(10) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(post, upstream)
                exchange = await upstream.chat(0)
                if behaviour.fault and behaviour.after:
                    await exchange.reached(behaviour.after)
                tasks.cancel_scope.cancel()
            await exchange.gone.wait()
            await exchange.finished.wait()
    assert not scope.cancelled_caught
    assert exchange.abandoned
    assert exchange.client_gone_at is not None


async def test_closing_the_server_ends_what_is_in_flight() -> None:
    threads = threading.active_count()
    async with httpx2.AsyncClient(trust_env=False) as client:
        async with Upstream(Behaviour.stall(1)) as upstream:
            url = f"{upstream.base_url}/chat/completions"
            async with client.stream("POST", url, json=STREAM) as response:
                await (await upstream.chat(0)).reached(1)
                await upstream.__aexit__()
                with pytest.raises(httpx2.ReadError):
                    await response.aread()
        assert upstream.connections == 0
        with pytest.raises(httpx2.ConnectError):
            await client.get(upstream.base_url)
    assert threading.active_count() == threads


async def test_an_exception_in_the_body_is_not_wrapped_in_a_group() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with Upstream():
            raise ValueError("mine")


async def test_one_connection_serves_many_requests_and_its_end_is_noticed() -> None:
    async with Upstream() as upstream:
        async with httpx2.AsyncClient(trust_env=False) as client:
            for _ in range(3):
                await client.post(f"{upstream.base_url}/chat/completions", json=STREAM)
            assert upstream.connections == 1
        await upstream.chats[-1].gone.wait()
        assert upstream.chats[-1].complete
        assert not upstream.chats[-1].abandoned


async def test_the_other_pages_answer_and_can_fail() -> None:
    async with (
        Upstream(models=("a", "b")) as good,
        Upstream(listing=Behaviour.unauthorized()) as bad,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        listed = (await client.get(f"{good.base_url}/models")).json()["data"]
        health = await client.get(good.base_url.replace("/v1", "/health"))
        lost = await client.get(f"{good.base_url}/nothing")
        denied = await client.get(f"{bad.base_url}/models")
        assert [model["id"] for model in listed] == ["a", "b"]
        assert (health.status_code, lost.status_code, denied.status_code) == (200, 404, 401)
        assert good.chats == []
        assert len(good.exchanges) == 3


async def test_everything_received_is_recorded_except_the_key() -> None:
    async with Upstream() as upstream, httpx2.AsyncClient(trust_env=False) as client:
        await client.post(
            f"{upstream.base_url}/chat/completions",
            json={**ASK, "secret": "plover"},
            headers={"Authorization": "Bearer sk-1234"},
        )
    assert b"plover" in upstream.received
    assert b"plover" in upstream.chats[0].received
    for kept in (upstream.received, repr(upstream.chats[0]).encode()):
        assert b"sk-1234" not in kept
    assert upstream.chats[0].authorized


async def test_cancelling_the_body_closes_the_server() -> None:
    async def talk() -> None:
        async with Upstream(Behaviour.stall(0)) as upstream:
            servers.append(upstream)
            await post(upstream)

    servers: list[Upstream] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk)
        while not servers:
            await anyio.wait_all_tasks_blocked()
        await servers[0].chat(0)
        tasks.cancel_scope.cancel()
    assert servers[0].connections == 0
    async with httpx2.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(servers[0].base_url)


async def test_embeddings_are_those_of_hashed_words_or_refused_as_a_real_server_would() -> None:
    async with Upstream() as upstream:
        request = {"model": "m", "input": "a red fox", "dimensions": 8}
        (vector,) = (await HashEmbedder(8).embed(["a red fox"])).tolist()
        url = f"{upstream.base_url}/embeddings"
        async with httpx2.AsyncClient(trust_env=False) as client:
            plain = await client.post(url, json=request)
            packed = await client.post(url, json={**request, "encoding_format": "base64"})
            empty = await client.post(url, json={"model": "m", "input": [""]})
        (found,) = plain.json()["data"]
        assert found == {"object": "embedding", "index": 0, "embedding": vector}
        bytes_ = base64.b64decode(packed.json()["data"][0]["embedding"])
        assert list(struct.unpack("<8f", bytes_)) == vector
        assert empty.status_code == 400
        assert [exchange.status for exchange in upstream.embedded] == [200, 200, 400]
        assert upstream.chats == []
