"""Completions and embeddings through OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.vanta_server.served import Served, scripted_pair, served, served_beside
from vanta.testing import HashEmbedder, ScriptedEngine, hash_plugin

pytestmark = pytest.mark.anyio


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


async def test_a_completion_streams_the_same_text(server: Served) -> None:
    async with server.client() as client:
        whole = await client.completions.create(model="vanta/local", prompt="Hi", echo=True)
        stream = await client.completions.create(
            model="vanta/local", prompt="Hi", stream=True, stream_options={"include_usage": True}
        )
        items = [item async for item in stream]
    assert (whole.object, whole.choices[0].text) == ("text_completion", "Hello there")
    assert whole.model_extra is not None
    assert whole.model_extra["vanta"]["ignored"] == ["echo"]
    assert "".join(choice.text for item in items for choice in item.choices) == "Hello there"
    assert [item.choices[0].finish_reason for item in items if item.choices][-1] == "stop"
    assert items[-1].usage == whole.usage
    assert len({item.id for item in items}) == 1


async def test_each_prompt_has_its_answers_in_order(server: Served) -> None:
    async with server.client() as client:
        answer = await client.completions.create(
            model="vanta/local", prompt=["Which seed?", "Hi"], n=2, seed=7
        )
        with pytest.raises(openai.BadRequestError, match="ask for 20 answers"):
            await client.completions.create(model="vanta", prompt=["Hi"] * 10, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    first, second, *rest = [choice.text for choice in answer.choices]
    assert (first, second) == ("seed 7", "seed 8")
    assert rest == ["Hello there", "Hello there"]


async def test_a_broken_completion_is_taken_over(server: Served) -> None:
    async with server.client() as client:
        stream = await client.completions.create(model="vanta/prefer", prompt="Count", stream=True)
        text = "".join([item.choices[0].text async for item in stream])
        whole = await client.completions.create(model="vanta/prefer", prompt="Count")
    assert text == whole.choices[0].text == "One two three four"
    assert (whole.model_extra or {})["vanta"]["takeovers"] == 1


async def test_both_forms_of_a_vector_have_the_same_numbers(server: Served) -> None:
    async with server.client() as client:
        numbers = await client.embeddings.create(
            model="hash", input=["one two", "three"], encoding_format="float"
        )
        coded = await client.embeddings.create(model="vanta", input=["one two", "three"])
        raw: Any = await client.embeddings.create(
            model="hash", input="one two", encoding_format="base64", dimensions=8
        )
    assert [item.index for item in numbers.data] == [0, 1]
    assert [len(item.embedding) for item in numbers.data] == [8, 8]
    assert [list(item.embedding) for item in coded.data] == [
        item.embedding for item in numbers.data
    ]
    assert isinstance(raw.data[0].embedding, str)
    assert numbers.usage.total_tokens >= 3


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"input": "one", "dimensions": 3}, "cannot be made 3"),
        ({"input": []}, "no text"),
        ({"input": ["one", ""]}, "no text"),
        ({"input": ["one"] * 2049}, "at most 2048"),
        ({"input": "o" * 1_300_000}, "at most 1200000"),
        ({"input": [1, 2]}, "input"),
    ],
)
async def test_texts_that_cannot_be_embedded_are_refused_with_the_reason(
    server: Served, given: dict[str, Any], problem: str
) -> None:
    answer = await server.post({"model": "hash", **given}, "/v1/embeddings")
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


async def test_an_unknown_embedder_is_refused_with_what_there_is(server: Served) -> None:
    async with server.client() as client:
        with pytest.raises(openai.NotFoundError, match="'hash', 'vanta'"):
            await client.embeddings.create(model="text-embedding-3-small", input="one")


async def test_a_server_without_an_embedder_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = {"memory": {"enabled": False}}
    async with served(tmp_path_factory.mktemp("none"), config=config, **scripted_pair()) as server:
        answer = await server.post({"model": "vanta", "input": "one"}, "/v1/embeddings")
    assert answer.status_code == 400
    assert "no embedder" in answer.json()["error"]["message"]


async def test_logprobs_are_those_of_the_answer_streamed_or_not(server: Served) -> None:
    messages: Any = [{"role": "user", "content": "Hi"}]
    async with server.client() as client:
        asked: Any = {"model": "vanta/local", "messages": messages, "logprobs": True}
        whole = await client.chat.completions.create(**asked, top_logprobs=1)
        stream = await client.chat.completions.create(**asked, top_logprobs=1, stream=True)
        items = [item async for item in stream]
        plain = await client.completions.create(model="vanta/local", prompt="Hi", logprobs=1)
        with pytest.raises(openai.BadRequestError, match="top_logprobs"):
            await client.chat.completions.create(model="vanta", messages=messages, top_logprobs=1)
        without = await client.chat.completions.create(model="vanta/local", messages=messages)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    tokens = [item.token for item in logprobs.content or ()]
    assert "".join(tokens) == "Hello there"
    assert all(item.logprob <= 0 for item in logprobs.content or ())
    streamed = [
        token
        for item in items
        for choice in item.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert streamed == logprobs.content
    text = plain.choices[0].logprobs
    assert text is not None
    assert text.tokens == tokens
    assert text.text_offset == [0, len(tokens[0])]
    assert without.choices[0].logprobs is None


async def test_an_answer_of_two_tracks_has_no_logprobs(server: Served) -> None:
    body = {"model": "vanta/prefer", "messages": [{"role": "user", "content": "Count"}]}
    answer = await server.post({**body, "logprobs": True})
    choice = answer.json()["choices"][0]
    assert choice["message"]["content"] == "One two three four"
    assert choice["logprobs"] is None
