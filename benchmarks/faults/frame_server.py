"""A server that sends what no proper server sends, for as long as its client reads.

    python -m benchmarks.faults.frame_server

It runs in a process of its own, so that neither its memory nor its processor time counts as the
client's, and prints its port. It ends with its standard input. What it sends is JSON in the last
message of a chat completion, or in the URL's parameter `plan` for any other request, or else the
program's argument for every request:

    {"frames": [["text", 1000, 50], ["comment", 20, -1]], "status": 200, "coding": ""}

Each frame is its kind, a size, and how often it is sent; -1 is without an end. Invariant: a frame
is built once and sent in batches, so that the client is what limits the rate.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

BATCH_BYTES = 64 * 1024
ENDLESS = -1
MOST_S = 30.0
"""Seconds after which an endless answer ends, for a client that never leaves."""


def _chunk(delta: dict[str, Any] | None = None, **rest: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": rest.pop("finish", None)}
    return _event({"id": "c", "model": "m", "choices": [choice], **rest})


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _call(size: int, number: int | None) -> bytes:
    function = {"name": "look", "arguments": "x" * size}
    call = {"index": number or 0, "type": "function", "function": function}
    return _chunk({"tool_calls": [call if number is None else {**call, "id": f"call_{number}"}]})


def _calls(size: int) -> bytes:
    """Return one event with `size` tool calls."""
    calls = [
        {"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{}"}}
        for i in range(min(size, 10_000))
    ]
    return _chunk({"tool_calls": calls})


def _logprobs(size: int) -> bytes:
    top = [{"token": "t" * min(size, 500), "logprob": -1.0}] * 20
    entry = {"token": "t", "logprob": -1.0, "top_logprobs": top}
    choice = {"index": 0, "delta": {"content": "t"}, "logprobs": {"content": [entry]}}
    return _event({"choices": [choice]})


_WRONG: tuple[Any, ...] = (
    {"choices": "none"},
    {"choices": [{"delta": {"content": 5}}]},
    {"choices": [{"delta": [], "finish_reason": {}}]},
    {"choices": [{"delta": {"tool_calls": {"a": 1}}}]},
    {"choices": [None], "usage": "many"},
    [1, 2, 3],
    "text",
    None,
)
FRAMES: dict[str, Callable[[int], bytes]] = {
    "text": lambda size: _chunk({"content": "x" * size}),
    "words": lambda size: _chunk({"content": "word " * (size // 5 or 1)}),
    "wide": lambda size: _chunk({"content": "\U0001f600" * size}),
    "reasoning": lambda size: _chunk({"reasoning_content": "x" * size}),
    "argument": lambda size: _call(size, None),
    "call": lambda size: _call(min(size, 100), size),
    "calls": _calls,
    "logprobs": _logprobs,
    "empty": lambda _size: _chunk(),
    "bare": lambda _size: b"data: {}\n\n",
    "no_data": lambda _size: b"data:\n\n",
    "comment": lambda size: b": " + b"x" * size + b"\n\n",
    "comment_line": lambda size: b":" + b"x" * size + b"\n",
    "data_lines": lambda size: b"data: " + b"x" * size + b"\n",
    "no_newline": lambda size: b"x" * size,
    "newlines": lambda size: b"\n" * size,
    "carriage_returns": lambda size: b"\r" * size,
    "malformed": lambda size: b"data: {" + b"x" * size + b"\n\n",
    "nested": lambda size: b'data: {"choices":' + b"[" * size + b"\n\n",
    "objects": lambda size: b'data: {"a":[' + b"{}," * size + b"{}]}\n\n",
    "digits": lambda size: b'data: {"usage":{"prompt_tokens":' + b"9" * size + b"}}\n\n",
    "wrong": lambda size: _event(_WRONG[size % len(_WRONG)]),
    "usage": lambda size: _event({"choices": [], "usage": {"completion_tokens": size - 500}}),
    "finish": lambda _size: _chunk(finish="stop"),
    "done": lambda _size: b"data: [DONE]\n\n",
    "error": lambda size: _event({"error": {"message": "x" * size, "code": 500}}),
    "slow_error": lambda size: _event(
        {"error": {"message": "model longer than the " * (size // 22), "code": "m " * (size // 2)}}
    ),
    "slow_refusal": lambda size: json.dumps(
        {"error": {"message": "model longer than the " * (size // 22)}}
    ).encode(),
    "page": lambda size: b"<html>" + b"x" * size,
    "json": lambda size: b'{"choices":[{"message":{"content":"' + b"x" * size,
}
"""Kind -> what is sent, by size."""


def serve() -> None:
    """Accept connections until the standard input ends, each on a thread of its own."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_answer, args=(client,), daemon=True).start()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def _answer(client: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError), client:
        client.settimeout(MOST_S)
        plan = _plan(client)
        coding = plan.get("coding", "")
        client.sendall(_head(plan.get("status", 200), coding, plan))
        pieces = _pieces(plan["frames"], client)
        for piece in _encoded(pieces, coding) if coding else pieces:
            client.sendall(piece)


def _plan(client: socket.socket) -> dict[str, Any]:
    target, body = _request(client)
    if sys.argv[1:]:
        always: dict[str, Any] = json.loads(sys.argv[1])
        return always
    query = parse_qs(urlsplit(target).query)
    text = query["plan"][0] if "plan" in query else json.loads(body)["messages"][-1]["content"]
    plan: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return plan


def _request(client: socket.socket) -> tuple[str, bytes]:
    """Return the target and the body of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(client)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    parts = [body]
    missing = int(fields.get(b"content-length", b"0")) - len(body)
    while missing > 0:
        parts.append(_received(client))
        missing -= len(parts[-1])
    return head.split(b" ", 2)[1].decode(), b"".join(parts)


def _received(client: socket.socket) -> bytes:
    data = client.recv(1 << 20)
    if not data:
        raise OSError("the client is gone")
    return data


def _head(status: int, coding: str, plan: dict[str, Any]) -> bytes:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n" * int(plan.get("interim", 0))
    lines = [f"HTTP/1.1 {status} Status", "connection: close"]
    lines += [f"content-type: {plan.get('type', 'text/event-stream')}"]
    lines += [f"content-encoding: {coding}"] if coding else []
    lines += [f"x-{number}: {'x' * 60}" for number in range(plan.get("headers", 0))]
    return interim + "\r\n".join([*lines, "", ""]).encode()


def _pieces(frames: list[Any], client: socket.socket) -> Iterator[bytes]:
    ends_at = time.monotonic() + MOST_S
    for kind, size, count in frames:
        if kind == "stall":
            time.sleep(min(size / 1000, MOST_S))
        elif kind == "cut":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        elif kind == "calls_without_end":
            number = 0
            while number != count and time.monotonic() < ends_at:
                yield _call(size, number)
                number += 1
        else:
            yield from _repeated(FRAMES[kind](size), count, ends_at)


def _repeated(frame: bytes, count: int, ends_at: float) -> Iterator[bytes]:
    at_once = max(1, BATCH_BYTES // max(1, len(frame)))
    batch = frame * at_once
    while count and time.monotonic() < ends_at:
        if 0 < count < at_once:
            batch, at_once = frame * count, count
        yield batch
        count -= at_once if count > 0 else 0


def _encoded(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """Compress a body; a coding "gzip, gzip" is applied twice."""
    if coding == "deflate":
        packer = zlib.compressobj(9)
        for piece in pieces:
            yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packer.flush()
        return
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for piece in pieces:
        packed = packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield gzip.compress(packed) if "," in coding else packed
    yield packer.flush()


if __name__ == "__main__":
    serve()
