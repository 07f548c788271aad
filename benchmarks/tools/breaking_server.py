"""Two tracks behind one server: one that breaks after its first call, and one that does not.

    python -m benchmarks.tools.breaking_server

It prints its port and ends with its standard input. `/KIND/v1/chat/completions` asks for one call
of the first tool that the request offers; once the request has a result, it begins a sentence and
breaks: the connection is `cut`, the stream `stall`s, an event is `malformed`, or the status is
`500`. Under `/sound/` the sentence is finished, with the result in it. Invariant: what is answered
depends on the request alone, streamed or whole, so every contestant meets the same server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any

KINDS = ("cut", "stall", "malformed", "500")
"""How a track breaks."""

SOUND = "sound"
STALL_S = 20.0
_HEAD = "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{length}\r\n"
_EVENTS = "text/event-stream"


async def serve() -> None:
    """Answer until the standard input ends."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    reading = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await reading


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        path, body = await _request(reader)
        await _respond(writer, path.strip("/").split("/")[0], body)
    writer.close()


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return lines[0].split(" ")[1], json.loads(body or b"{}")


async def _respond(writer: asyncio.StreamWriter, kind: str, body: dict[str, Any]) -> None:
    results = [item["content"] for item in body["messages"] if item["role"] == "tool"]
    streams = bool(body.get("stream"))
    if not results:
        message = {"role": "assistant", "content": None, "tool_calls": [_call(body)]}
        _whole(writer, message, "tool_calls", streams=streams)
    elif kind == SOUND:
        text = f"It is done: {_text(results[-1])}"
        _whole(writer, {"role": "assistant", "content": text}, "stop", streams=streams)
    else:
        await _break(writer, kind, streams=streams)
    await writer.drain()


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content)


def _call(body: dict[str, Any]) -> dict[str, Any]:
    function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"to": "Anna"}'}
    return {"index": 0, "id": "call_1", "type": "function", "function": function}


def _whole(
    writer: asyncio.StreamWriter, message: dict[str, Any], reason: str, *, streams: bool
) -> None:
    usage = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}
    if streams:
        writer.write(_HEAD.format(status="200 OK", kind=_EVENTS, length="").encode())
        writer.write(_event(delta=message))
        writer.write(_event(delta={}, finish_reason=reason, usage=usage))
        writer.write(b"data: [DONE]\n\n")
        return
    choice = {"index": 0, "message": message, "finish_reason": reason}
    _send_json(writer, {**_frame("chat.completion"), "choices": [choice], "usage": usage})


async def _break(writer: asyncio.StreamWriter, kind: str, *, streams: bool) -> None:
    if kind == "500":
        _send_json(writer, {"error": {"message": "broken", "type": "server_error"}}, "500 Broken")
        return
    media_type = _EVENTS if streams else "application/json"
    length = "" if streams else "Content-Length: 5000\r\n"
    writer.write(_HEAD.format(status="200 OK", kind=media_type, length=length).encode())
    if streams:
        writer.write(_event(delta={"role": "assistant", "content": "It is "}))
    await writer.drain()
    if kind == "stall":
        await asyncio.sleep(STALL_S)
    elif kind == "malformed":
        writer.write(b'data: {"choices": [{"delta": {"content": "do\n\ndata: [DONE]\n\n')


def _event(**rest: Any) -> bytes:
    usage = rest.pop("usage", None)
    choice = {"index": 0, "finish_reason": None, **rest}
    frame = {**_frame("chat.completion.chunk"), "choices": [choice], "usage": usage}
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


def _frame(kind: str) -> dict[str, Any]:
    return {"id": "c", "object": kind, "created": 1, "model": "m"}


def _send_json(writer: asyncio.StreamWriter, value: Any, status: str = "200 OK") -> None:
    body = json.dumps(value).encode()
    length = f"Content-Length: {len(body)}\r\n"
    writer.write(_HEAD.format(status=status, kind="application/json", length=length).encode())
    writer.write(body)


if __name__ == "__main__":
    asyncio.run(serve())
