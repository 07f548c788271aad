"""Messages through Anthropic's own client: whole, streamed, with tools, reasoned, broken, left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest
from anthropic.types import MessageParam

from tests.vanta_server.served import Served, scripted_pair, served, served_beside
from vanta.testing import Hang, ScriptedEngine

pytestmark = pytest.mark.anyio

WEATHER: Any = {
    "name": "look_up",
    "description": "Return the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def engines() -> dict[str, ScriptedEngine]:
    return scripted_pair()


@pytest.fixture(scope="module")
def server(
    engines: dict[str, ScriptedEngine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    config = {"retries": 0}
    folder = tmp_path_factory.mktemp("served")
    with served_beside(folder, config=config, **engines) as server:
        yield server


def client_of(server: Served, key: str = "none") -> anthropic.AsyncAnthropic:
    """Return Anthropic's own client of a server."""
    return anthropic.AsyncAnthropic(base_url=server.url, api_key=key, max_retries=0)


def user(content: Any) -> MessageParam:
    return {"role": "user", "content": content}


def body(content: Any, **rest: Any) -> dict[str, Any]:
    """Return a request with one message of the user."""
    return {"model": "vanta/local", "max_tokens": 64, "messages": [user(content)], **rest}


async def ask(server: Served, content: Any, **rest: Any) -> anthropic.types.Message:
    async with client_of(server) as client:
        answer: anthropic.types.Message = await client.messages.create(**body(content, **rest))
        return answer


async def stream(
    server: Served, content: Any, **rest: Any
) -> tuple[list[str], anthropic.types.Message]:
    """Return the kinds of the events of a stream, and the message that the client made of them."""
    async with client_of(server) as client, client.messages.stream(**body(content, **rest)) as run:
        kinds: list[str] = [event.type async for event in run]
        return kinds, await run.get_final_message()


def blocks(message: anthropic.types.Message) -> list[dict[str, Any]]:
    """Return the content without what the client adds to it."""
    return [block.model_dump(exclude={"parsed_output"}) for block in message.content]


async def test_a_stream_is_the_whole_message(server: Served) -> None:
    whole = await ask(server, "Hi")
    kinds, streamed = await stream(server, "Hi")
    assert [block.type for block in whole.content] == ["text"]
    assert whole.content[0].to_dict()["text"] == "Hello there"
    assert (whole.stop_reason, whole.model, whole.role) == ("end_turn", "vanta/local", "assistant")
    assert whole.usage.output_tokens > 0
    assert blocks(streamed) == blocks(whole)
    assert (streamed.stop_reason, streamed.usage.to_dict()) == (
        whole.stop_reason,
        whole.usage.to_dict(),
    )
    assert [kind for kind in kinds if kind != "text"] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * kinds.count("content_block_delta"),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert whole.model_extra is not None
    assert whole.model_extra["vanta"]["track"] == "local"


async def test_a_broken_track_is_taken_over_in_one_block_of_text(server: Served) -> None:
    _, streamed = await stream(server, "Count", model="vanta/prefer")
    whole = await ask(server, "Count", model="vanta/prefer")
    texts = [block.to_dict().get("text") for block in streamed.content]
    assert texts == ["One two three four"]
    assert blocks(whole) == blocks(streamed)
    assert whole.model_extra is not None
    assert whole.model_extra["vanta"]["takeovers"] == 1
    alone = await ask(server, "Count")
    assert whole.usage.input_tokens > alone.usage.input_tokens


async def test_tools_are_called_and_their_results_are_read(server: Served) -> None:
    whole = await ask(server, "Weather?", tools=[WEATHER])
    _, streamed = await stream(server, "Weather?", tools=[WEATHER])
    (call,) = whole.content
    assert call.type == "tool_use"
    assert (call.name, call.input, whole.stop_reason) == ("look_up", {"city": "Oslo"}, "tool_use")
    assert [block.to_dict()["input"] for block in streamed.content] == [{"city": "Oslo"}]
    messages: list[Any] = [
        user("Weather?"),
        {"role": "assistant", "content": [call.to_dict()]},
        user(
            [
                {
                    "type": "tool_result",
                    "tool_use_id": call.id,
                    "content": [{"type": "text", "text": "sunny"}],
                }
            ]
        ),
    ]
    async with client_of(server) as client:
        last = await client.messages.create(
            model="vanta/local", max_tokens=64, messages=messages, tools=[WEATHER]
        )
    assert last.content[0].to_dict()["text"] == "It is sunny."


async def test_a_failed_result_is_marked_and_text_beside_it_comes_after(server: Served) -> None:
    call = {"type": "tool_use", "id": "a", "name": "look_up", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "no net", "is_error": True}
    thought = {"type": "thinking", "thinking": "Hm", "signature": "x"}
    answer = await server.post(
        {
            "model": "vanta/local",
            "messages": [
                user("Weather?"),
                {"role": "assistant", "content": [thought, call]},
                user([{"type": "text", "text": "Go on"}, result]),
            ],
        },
        "/v1/messages",
    )
    text = answer.json()["content"][0]["text"]
    assert text.endswith("assistant: |tool: Error: no net|user: Go on")


@pytest.mark.parametrize("thinks", [True, False])
async def test_reasoning_is_a_block_of_its_own_for_clients_that_want_it(
    server: Served, thinks: bool
) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024} if thinks else {"type": "disabled"}
    whole = await ask(server, "Think", thinking=thinking)
    _, streamed = await stream(server, "Think", thinking=thinking)
    expected = [("text", "Thought.")]
    if thinks:
        expected.insert(0, ("thinking", "Let me think."))
    for message in (whole, streamed):
        shown = [(block["type"], block[block["type"]]) for block in blocks(message)]
        assert shown == expected
    assert blocks(streamed) == blocks(whole)


async def test_system_texts_and_sampling_reach_the_model(
    server: Served, engines: dict[str, ScriptedEngine]
) -> None:
    blocks: Any = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    asked = await ask(server, "What system?", system=blocks)
    assert asked.content[0].to_dict()["text"] == "Be brief.\n\nBe kind."
    older = {"temperature": 0.25, "top_k": 7}
    await ask(server, "Hi", stop_sequences=["END"], max_tokens=99, extra_body=older)
    sampling = engines["local"].requests[-1].sampling
    assert (sampling.temperature, sampling.top_k) == (0.25, 7)
    assert (sampling.stop, sampling.max_tokens) == (("END",), 99)


async def test_fields_without_effect_are_named(server: Served) -> None:
    answer = await server.post(
        body("Hi", service_tier="auto", tools=[{"type": "web_search_20250305", "name": "search"}]),
        "/v1/messages",
    )
    assert answer.json()["vanta"]["ignored"] == ["service_tier", "tools.web_search_20250305"]


async def test_tokens_are_counted_with_tools_and_system(server: Served) -> None:
    async with client_of(server) as client:

        async def count(**rest: Any) -> int:
            found = await client.messages.count_tokens(
                model=rest.pop("model", "vanta/local"), messages=[user("Hi there")], **rest
            )
            return found.input_tokens

        plain = await count()
        assert plain > 0
        assert await count(system="Be brief.") > plain
        assert await count(tools=[WEATHER]) > plain
        assert await count(model="vanta") == plain


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("RATE_LIMITED", 429, "rate_limit_error"),
        ("OVERLOADED", 529, "overloaded_error"),
        ("NETWORK", 502, "api_error"),
    ],
)
async def test_a_turn_that_fails_has_anthropics_status_and_type(
    tmp_path: Path, name: str, status: int, kind: str
) -> None:
    async with served(tmp_path, config={"retries": 0}, **scripted_pair()) as server:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await ask(server, f"fail {name}", model="vanta/api")
    error: Any = caught.value.body
    assert (caught.value.status_code, caught.value.type, error["type"]) == (status, kind, "error")
    assert error["request_id"] == caught.value.request_id
    assert ("retry-after" in caught.value.response.headers) == (status in (429, 529))


async def test_an_error_in_the_middle_is_the_last_event(server: Served) -> None:
    with pytest.raises(anthropic.APIStatusError, match="no track could answer"):
        await stream(server, "Count alone", model="vanta/api")
    answer = await server.post(body("Count alone", model="vanta/api", stream=True), "/v1/messages")
    assert "event: error\n" in answer.text
    assert "message_stop" not in answer.text


@pytest.mark.parametrize(
    ("request_body", "place"),
    [
        ({}, "messages"),
        ({"messages": [user("Hi")], "max_tokens": 0}, "max_tokens"),
        ({"messages": [user("Hi")], "temperature": 2}, "temperature"),
        ({"messages": [user([{"type": "video"}])]}, "messages.0.content.0"),
        ({"messages": [user([{"type": "text", "text": 3}])]}, "messages.0.content.0.text"),
        (
            {"messages": [user([{"type": "image", "source": {"type": "url", "url": "http://x"}}])]},
            "messages.0.content.0",
        ),
        ({"messages": [user("Hi")], "system": [{"type": "image"}]}, "system.0"),
        ({"messages": [user("Hi")], "system": ["Hi"]}, "system"),
        ({"messages": [user("Hi")], "tools": [{"input_schema": {}}]}, "tools"),
        ({"messages": [user("Hi")], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"messages": [user("Hi")], "tool_choice": {"type": "any"}}, "tool_choice"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_a_wrong_request_is_refused_by_the_name_of_its_field(
    server: Served, request_body: dict[str, Any], place: str, path: str
) -> None:
    if path.endswith("count_tokens") and place in ("tools", "messages", "tool_choice"):
        request_body = {"messages": "Hi"}
        place = "messages"
    answer = await server.post({"model": "vanta/local", **request_body}, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert place in error["message"] or place == "tools"


async def test_an_unknown_model_is_refused_with_the_nearest(server: Served) -> None:
    with pytest.raises(anthropic.NotFoundError, match="Did you mean 'vanta/local'") as caught:
        await ask(server, "Hi", model="vanta/locl")
    assert caught.value.type == "not_found_error"


async def test_models_are_listed_in_anthropics_shape(server: Served) -> None:
    async with client_of(server) as client:
        listed = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("vanta/local")
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("vanta/locl")
    async with server.client() as other:
        assert listed == [model.id async for model in other.models.list()]
    assert (one.id, one.type) == ("vanta/local", "model")


async def test_the_turns_events_are_in_pings(server: Served) -> None:
    answer = await server.post(body("Hi", stream=True, vanta={"events": True}), "/v1/messages")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line[:6] == "data: "]
    pings = [event["vanta"]["event"]["type"] for event in events if event["type"] == "ping"]
    assert pings[0] == "TurnStarted"
    assert pings[-1] == "TurnFinished"
    _, message = await stream(server, "Hi", extra_body={"vanta": {"events": True}})
    assert message.content[0].to_dict()["text"] == "Hello there"


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_leaves_cancels_its_turn(streams: bool, tmp_path: Path) -> None:
    engine = ScriptedEngine("One", Hang()) if streams else ScriptedEngine(Hang())
    async with served(tmp_path, local=engine, config={"deadline_s": 600}) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.post, body("Hi", model="vanta", stream=streams), "/v1/messages")
            run = await engine.run()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(60):
            await run.stopped.wait()
    assert run.cancelled


async def test_a_key_is_read_from_either_header(tmp_path: Path) -> None:
    async with served(tmp_path, **scripted_pair()) as server:
        _, key = server.keys.create("ada")
        async with client_of(server, key) as client:
            answer = await client.messages.create(**body("Hi"))
        assert answer.content
        async with anthropic.AsyncAnthropic(base_url=server.url, auth_token=key) as client:
            answer = await client.messages.create(**body("Hi"))
        assert answer.content
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await ask(server, "Hi")
    assert caught.value.type == "authentication_error"
