"""A server of vanta over tracks at given URLs, in a process of its own.

    python -m benchmarks.serve.program API_URL [LOCAL_URL]

Prints its base URL and ends with its standard input. With two URLs both tracks answer under the
policy `prefer`: the first one wins, and the second one is in reserve.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import vanta
from vanta_server.access import AccessRules
from vanta_server.keys import KeyStore
from vanta_server.running import ServerSettings, bind, serve, url_of


async def main(urls: list[str]) -> None:
    """Serve until the standard input ends."""
    with tempfile.TemporaryDirectory() as folder:
        rules = AccessRules(keys=KeyStore(Path(folder)))
        listener = bind(ServerSettings(port=0), rules)

        async def stop_at_end(scope: anyio.CancelScope) -> None:
            await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            scope.cancel()

        def report() -> None:
            print(f"{url_of(listener)}/v1", flush=True)

        async with vanta.open(_config(urls, folder)) as runtime, anyio.create_task_group() as tasks:
            tasks.start_soon(stop_at_end, tasks.cancel_scope)
            await serve(runtime, listener, rules, on_ready=report, signals=False)


def _config(urls: list[str], folder: str) -> dict[str, Any]:
    names = ("api", "local")[: len(urls)]
    tracks: dict[str, Any] = {
        name: {"engine": "openai", "model": "m", "options": {"base_url": url}}
        for name, url in zip(names, urls, strict=True)
    }
    if len(urls) == 1:
        tracks["local"] = {"enabled": False}
    return {
        "data_dir": folder,
        "tracks": tracks,
        "policy": "api" if len(urls) == 1 else "prefer",
        "memory": {"enabled": False},
        "retries": 0,
    }


if __name__ == "__main__":
    anyio.run(main, sys.argv[1:], backend="asyncio")
