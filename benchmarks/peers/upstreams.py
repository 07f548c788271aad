"""A program with two upstreams, in a process that does not share the event loop of the race.

Run by `benchmarks.servers` as `upstreams.py TRAP`, with the behaviours of both servers as JSON. It
prints the base URLs, and for each line on standard input the records of all requests since the line
before. It ends with its input. Times are `time.monotonic()`, one clock for all processes.
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
            records = [await _records(slow), await _records(fast)]
            print(json.dumps({"records": records, "open": slow.connections + fast.connections}))
            sys.stdout.flush()


def _behaviour(spec: dict[str, Any]) -> Behaviour:
    make = getattr(Behaviour, spec.pop("kind", "answer"))
    # One connection per request: an upstream keeps every byte of a connection that stays open.
    result: Behaviour = make(**spec, headers={"connection": "close"})
    return result


async def _records(upstream: Upstream) -> list[dict[str, Any]]:
    """Return the record of each request once its client has the whole answer or is gone."""
    chats = upstream.chats
    with anyio.move_on_after(_SETTLES_IN_S):
        for exchange in chats:
            await exchange.finished.wait()
    records = [_record(exchange) for exchange in chats]
    upstream.exchanges.clear()
    return records


def _record(exchange: HttpExchange) -> dict[str, Any]:
    messages = exchange.body.get("messages") or [{"content": ""}]
    return {
        # Notes of memory precede the message, so that the tag is the last line.
        "tag": messages[-1]["content"].rpartition("\n")[2],
        "started_at": exchange.started_at,
        "first_token_at": exchange.first_token_at,
        "client_gone_at": exchange.client_gone_at,
        "complete": exchange.complete,
    }


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))
