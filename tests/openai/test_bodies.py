"""The body decides what an answer is, whatever its headers claim."""

from __future__ import annotations

import json

import pytest

from tests.openai.support import FINISH, RawServer, answer_of, engine_at, frames, text_frame
from vanta import Completion, EngineError, ErrorKind, ToolCall, Usage
from vanta_openai.body import body_kind

pytestmark = pytest.mark.anyio

STREAM = frames(text_frame("Grüße, 北京"), FINISH)
CALL = {"id": "A1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
TYPES = [
    "text/event-stream",
    "TEXT/EVENT-STREAM;charset=UTF-8",
    "text/event-stream; charset=iso-8859-1",
    "text/plain; charset=latin-1",
    "application/x-ndjson",
    "application/octet-stream",
    "application/json",
    "",
]


async def answer_to(body: bytes | str, content_type: str, *, holds: bool = False) -> Completion:
    async with (
        RawServer(body, content_type=content_type, holds=holds) as server,
        engine_at(server.base_url) as engine,
    ):
        return await answer_of(engine)


@pytest.mark.parametrize("content_type", TYPES)
async def test_an_event_stream_is_read_under_any_content_type(content_type: str) -> None:
    answer = await answer_to(STREAM, content_type)
    assert (answer.text, answer.finish_reason) == ("Grüße, 北京", "stop")


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain"])
@pytest.mark.parametrize(
    "before",
    ["\ufeff", "\n\r\n", ": hello\n\n", "event: message\n", "id: 1\n", "retry: 10\n"],
    ids=repr,
)
async def test_nothing_before_the_first_frame_hides_it(before: str, content_type: str) -> None:
    assert (await answer_to(before + STREAM, content_type)).text == "Grüße, 北京"


def completion(**message: object) -> str:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage})


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain"])
async def test_a_whole_completion_in_place_of_a_stream_is_an_answer(content_type: str) -> None:
    answer = await answer_to(completion(content="A whole answer."), content_type)
    assert (answer.text, answer.finish_reason) == ("A whole answer.", "stop")
    assert answer.usage == Usage(5, 3)


async def test_the_tool_calls_of_a_whole_completion_are_read() -> None:
    answer = await answer_to(completion(content=None, tool_calls=[CALL]), "application/json")
    assert answer.tool_calls == (ToolCall("A1", "clock", "{}"),)


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", ""])
async def test_a_page_is_refused_by_its_first_bytes(content_type: str) -> None:
    with pytest.raises(EngineError, match="not an event stream") as caught:
        await answer_to("<html>login</html>" + " " * 4096, content_type, holds=True)
    assert caught.value.kind is ErrorKind.SERVER
    assert "base_url" in caught.value.suggestion


@pytest.mark.parametrize("body", ["", '{"status": "ok"}', "[1, 2]", '{"choices": [', "da"])
async def test_what_is_neither_is_refused(body: str) -> None:
    with pytest.raises(EngineError, match="not an event stream"):
        await answer_to(body, "application/json")


async def test_an_error_in_an_event_stream_of_plain_json_has_its_kind() -> None:
    body = '{"error": {"message": "slow down", "code": 429}}'
    with pytest.raises(EngineError, match="slow down") as caught:
        await answer_to(body, "text/event-stream")
    assert caught.value.kind is ErrorKind.RATE_LIMITED


async def test_an_error_whose_charset_is_declared_wrongly_is_readable() -> None:
    body = json.dumps({"error": {"message": "schließlich: 北京"}}, ensure_ascii=False)
    async with (
        RawServer(body, status=400, content_type="application/json; charset=latin-1") as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="schließlich: 北京"):
            await answer_of(engine)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", None),
        (b"\xef\xbb", None),
        (b"\xef\xbb\xbf", None),
        (b"\r\n", None),
        (b"dat", None),
        (b"\xef\xbb\xbfdata:", "events"),
        (b":", "events"),
        (b" {", "json"),
        (b"data ", "other"),
        (b"<", "other"),
    ],
)
def test_a_body_is_known_as_soon_as_its_bytes_allow(head: bytes, kind: str | None) -> None:
    assert body_kind(head) == kind
