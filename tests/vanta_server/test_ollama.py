"""Ollama's surface through Ollama's own client: found, asked, streamed, broken, left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import ollama
import pytest

import vanta
from tests.vanta_server.served import Served, scripted_pair, served, served_beside
from vanta.testing import Hang, HashEmbedder, ScriptedEngine, hash_plugin

pytestmark = pytest.mark.anyio

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Return the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def engines() -> dict[str, ScriptedEngine]:
    return scripted_pair()


@pytest.fixture(scope="module")
def server(
    engines: dict[str, ScriptedEngine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    config = {"retries": 0, "memory": {"embedder": "hash"}}
    folder = tmp_path_factory.mktemp("served")
    plugins = [hash_plugin(HashEmbedder(8))]
    with served_beside(folder, config=config, plugins=plugins, **engines) as server:
        yield server


@pytest.fixture
async def client(server: Served) -> AsyncIterator[ollama.AsyncClient]:
    """Ollama's own client of the server."""
    client = ollama.AsyncClient(host=server.url, trust_env=False)
    try:
        yield client
    finally:
        await client.close()  # type: ignore[no-untyped-call]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def ask(client: ollama.AsyncClient, text: str, **rest: Any) -> ollama.ChatResponse:
    model = rest.pop("model", "vanta/local")
    answer: ollama.ChatResponse = await client.chat(model=model, messages=[user(text)], **rest)
    return answer


async def lines(client: ollama.AsyncClient, text: str, **rest: Any) -> list[ollama.ChatResponse]:
    """Stream an answer to its end."""
    model = rest.pop("model", "vanta/local")
    messages = [user(text)]
    stream = await client.chat(model=model, messages=messages, stream=True, **rest)
    return [part async for part in stream]


def text_of(parts: list[ollama.ChatResponse]) -> str:
    return "".join(part.message.content or "" for part in parts)


async def test_programs_find_it(server: Served) -> None:
    greeting = await server.get("/")
    assert (greeting.status_code, greeting.text) == (200, "Ollama is running")
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.head(server.url)).status_code == 200
    version = (await server.get("/api/version")).json()
    assert tuple(map(int, version["version"].split("."))) >= (0, 6, 4)
    assert version["vanta"] == vanta.__version__


async def test_every_listed_name_can_be_shown_and_asked(
    server: Served, client: ollama.AsyncClient
) -> None:
    names = [model.model or "" for model in (await client.list()).models]
    async with server.client() as other:
        assert names == [model.id async for model in other.models.list()]
    for name in names:
        shown = await client.show(name)
        assert {"completion", "tools"} <= set(shown.capabilities or ())
        assert shown.modelinfo
        assert shown.modelinfo["general.basename"] == name
    answer = await ask(client, "Hi", model="vanta/local:latest")
    assert answer.message.content == "Hello there"
    assert answer.model == "vanta/local:latest"
    assert (await client.ps()).models == []


async def test_a_stream_is_the_whole_answer(server: Served, client: ollama.AsyncClient) -> None:
    whole, streamed = await ask(client, "Hi"), await lines(client, "Hi")
    assert whole.message.content == text_of(streamed) == "Hello there"
    assert [part.done for part in streamed][-2:] == [False, True]
    for last in (whole, streamed[-1]):
        assert (last.done, last.done_reason) == (True, "stop")
        assert last.eval_count == 2
        assert (last.prompt_eval_count or 0) > 0
        assert (last.total_duration or 0) >= (last.eval_duration or 0) > 0
    answer = await server.post(
        {"model": "vanta/local", "messages": [user("Hi")], "stream": False}, "/api/chat"
    )
    assert answer.json()["vanta"]["track"] == "local"


async def test_a_prompt_is_answered_whole_and_in_lines(
    server: Served, client: ollama.AsyncClient
) -> None:
    whole = await client.generate(model="vanta/local", prompt="What system?", system="Be brief.")
    stream = await client.generate(model="vanta/local", prompt="Hi", stream=True)
    assert whole.response == "Be brief."
    assert "".join([part.response or "" async for part in stream]) == "Hello there"


async def test_a_broken_track_is_taken_over_without_the_client_noticing(
    server: Served, client: ollama.AsyncClient
) -> None:
    streamed = await lines(client, "Count", model="vanta/prefer")
    answer = await server.post(
        {"model": "vanta/prefer", "messages": [user("Count")], "stream": False}, "/api/chat"
    )
    assert text_of(streamed) == "One two three four"
    whole = answer.json()
    assert whole["message"]["content"] == "One two three four"
    assert whole["vanta"]["takeovers"] == 1
    alone = await ask(client, "Count")
    assert whole["prompt_eval_count"] > (alone.prompt_eval_count or 0)


async def test_tools_are_called_and_their_results_are_read(
    server: Served, client: ollama.AsyncClient
) -> None:
    whole = await ask(client, "Weather?", tools=[WEATHER])
    streamed = await lines(client, "Weather?", tools=[WEATHER])
    (call,) = whole.message.tool_calls or ()
    assert (call.function.name, call.function.arguments) == ("look_up", {"city": "Oslo"})
    (other,) = [call for part in streamed for call in part.message.tool_calls or ()]
    assert other == call
    last = await client.chat(
        model="vanta/local",
        messages=[
            user("Weather?"),
            whole.message,
            {"role": "tool", "content": "sunny", "tool_name": "look_up"},
        ],
        tools=[WEATHER],
    )
    assert last.message.content == "It is sunny."


async def test_results_belong_to_the_calls_of_their_tools(server: Served) -> None:
    calls: list[Any] = [{"function": {"name": name, "arguments": {}}} for name in ("one", "two")]
    answer = await server.post(
        {
            "model": "vanta/local",
            "stream": False,
            "messages": [
                user("Both?"),
                {"role": "assistant", "tool_calls": calls},
                {"role": "tool", "content": "2", "tool_name": "two"},
                {"role": "tool", "content": "1", "tool_name": "one"},
                user("Go on"),
            ],
        },
        "/api/chat",
    )
    assert "tool: 2|tool: 1|user: Go on" in answer.json()["message"]["content"]


@pytest.mark.parametrize("think", [True, False])
async def test_reasoning_is_apart_for_clients_that_want_it(
    server: Served, client: ollama.AsyncClient, think: bool
) -> None:
    whole, streamed = (
        await ask(client, "Think", think=think),
        await lines(client, "Think", think=think),
    )
    expected = "Let me think." if think else ""
    assert (whole.message.thinking or "", whole.message.content) == (expected, "Thought.")
    assert "".join(part.message.thinking or "" for part in streamed) == expected
    assert text_of(streamed) == "Thought."


async def test_options_and_forms_reach_the_model(
    server: Served, engines: dict[str, ScriptedEngine]
) -> None:
    options = {"temperature": 0.25, "num_predict": 99, "stop": ["END"], "seed": 7, "num_ctx": 4096}
    body = {"model": "vanta/local", "messages": [user("Hi")], "options": options, "stream": False}
    answer = await server.post({**body, "keep_alive": "5m"}, "/api/chat")
    sampling = engines["local"].requests[-1].sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.25, 99)
    assert (sampling.stop, sampling.seed) == (("END",), 7)
    assert answer.json()["vanta"]["ignored"] == ["options.num_ctx"]


async def test_a_schema_reaches_a_track_that_keeps_it(server: Served) -> None:
    answer = await server.post(
        {"model": "vanta/local", "messages": [user("Hi")], "format": "json", "stream": False},
        "/api/chat",
    )
    assert "json_schema" in answer.json()["error"]


async def test_vectors_are_those_of_the_embedder(
    server: Served, client: ollama.AsyncClient
) -> None:
    both = await client.embed(model="hash", input=["one", "two"])
    one = await client.embeddings(model="vanta", prompt="one")
    assert both.embeddings[0] == one.embedding
    assert both.embeddings[0] != both.embeddings[1]
    with pytest.raises(ollama.ResponseError, match="cannot be made 3"):
        await client.embed(model="hash", input="one", dimensions=3)
    with pytest.raises(ollama.ResponseError, match="no embedding model is named 'nomic'"):
        await client.embed(model="nomic", input="one")
    with pytest.raises(ollama.ResponseError, match="no text"):
        await client.embed(model="hash", input=[])


async def test_a_model_is_loaded_on_request_and_never_unloaded(
    server: Served, client: ollama.AsyncClient
) -> None:
    loaded = await client.generate(model="vanta/local")
    assert (loaded.done, loaded.done_reason) == (True, "load")
    with pytest.raises(ollama.ResponseError, match="stay loaded"):
        await client.generate(model="vanta/local", keep_alive=0)


@pytest.mark.parametrize(
    ("body", "path", "status", "problem"),
    [
        ({}, "/api/chat", 400, "model"),
        ({"model": "vanta/locl", "messages": [user("Hi")]}, "/api/chat", 404, "Did you mean"),
        ({"model": "vanta", "messages": [{"role": "robot"}]}, "/api/chat", 400, "messages.0.role"),
        ({"model": "vanta", "prompt": "Hi", "raw": True}, "/api/generate", 400, "raw"),
        ({"model": "vanta", "prompt": "a", "suffix": "b"}, "/api/generate", 400, "suffix"),
        (
            {"model": "vanta", "messages": [user("Hi")], "options": {"temperature": "hot"}},
            "/api/chat",
            400,
            "temperature",
        ),
        ({"model": "nothing"}, "/api/show", 404, "'nothing'"),
        ({"model": "nothing"}, "/api/pull", 404, "path"),
    ],
)
async def test_a_wrong_request_is_refused_in_ollamas_shape(
    server: Served, body: dict[str, Any], path: str, status: int, problem: str
) -> None:
    answer = await server.post(body, path)
    assert answer.status_code == status
    assert problem in answer.json()["error"]


async def test_an_error_in_the_middle_is_a_line(server: Served, client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match="no track could answer"):
        await lines(client, "Count alone", model="vanta/api")
    body = {"model": "vanta/api", "messages": [user("Count alone")]}
    answer = await server.post(body, "/api/chat")
    parts = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "error" in parts[-1]
    assert not any(part.get("done") for part in parts)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_leaves_cancels_its_turn(streams: bool, tmp_path: Path) -> None:
    engine = ScriptedEngine("One", Hang()) if streams else ScriptedEngine(Hang())
    async with served(tmp_path, local=engine, config={"deadline_s": 600}) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                server.post,
                {"model": "vanta", "messages": [user("Hi")], "stream": streams},
                "/api/chat",
            )
            run = await engine.run()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(60):
            await run.stopped.wait()
    assert run.cancelled
