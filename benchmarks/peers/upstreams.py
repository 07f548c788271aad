"""A program: two upstreams in a process of their own, so that the race's event loop is not theirs.

Run by `benchmarks.servers`: `upstreams.py TRAP`, with the behaviours of both servers as JSON.
Prints the base URLs; then, for every line on standard input, what it recorded of the requests since
the last one; ends with its input. Times are `time.monotonic()`, one clock for all processes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio

from vanta.testing import Behaviour, HttpExchange, Upstream

_SETTLES_IN_S = 5.0


async def main(specs: list[dict[str, Any]]) -> None:
    """Serve until standard input ends."""
    async with (
        Upstream(default=_behaviour(specs[0])) as slow,
        Upstream(default=_behaviour(specs[1])) as fast,
    ):
        print(json.dumps([slow.base_url, fast.base_url]), flush=True)
        async for _line in anyio.wrap_file(sys.stdin):
            told = [await _records(slow), await _records(fast)]
            print(json.dumps({"records": told, "open": slow.connections + fast.connections}))
            sys.stdout.flush()


def _behaviour(spec: dict[str, Any]) -> Behaviour:
    make = getattr(Behaviour, spec.pop("kind", "answer"))
    # One connection a request: an upstream keeps every byte of a connection that lives on.
    result: Behaviour = make(**spec, headers={"connection": "close"})
    return result


async def _records(upstream: Upstream) -> list[dict[str, Any]]:
    """What became of every request, once its client has all or has gone away."""
    chats = upstream.chats
    with anyio.move_on_after(_SETTLES_IN_S):
        for exchange in chats:
            await exchange.finished.wait()
    told = [_record(exchange) for exchange in chats]
    upstream.exchanges.clear()
    return told


def _record(exchange: HttpExchange) -> dict[str, Any]:
    messages = exchange.body.get("messages") or [{"content": ""}]
    return {
        "tag": messages[-1]["content"],
        "started_at": exchange.started_at,
        "first_token_at": exchange.first_token_at,
        "client_gone_at": exchange.client_gone_at,
        "complete": exchange.complete,
    }


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))
