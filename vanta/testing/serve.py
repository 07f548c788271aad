"""An OpenAI-compatible server in a process of its own, with a real engine behind it.

    python -m vanta.testing.serve --engine llamacpp --model smollm2-135m --delay-s 0.4

It prints one line of JSON once it listens (`{"base_url": ..., "model": ..., "delay_s": ...}`), or
one line with an `error`. The delay before each answer and the cut of `--cut-after` are simulated.

Invariant: it ends when its standard input is closed or on SIGTERM, so it never outlives the program
that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import anyio

import vanta
from vanta.errors import VantaError
from vanta.testing._behaviour import Behaviour
from vanta.testing._engine_backend import behind
from vanta.testing.scripted import ScriptedEngine
from vanta.testing.scripted_runtime import scripted_plugin
from vanta.testing.upstream import Upstream

TRACK = "served"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code, 1 if the engine could not be opened."""
    options = _parser().parse_args(argv)
    try:
        anyio.run(_serve, options)
    except VantaError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vanta.testing.serve", description=__doc__)
    parser.add_argument("--engine", default="llamacpp", help="'scripted' repeats the last message")
    parser.add_argument("--model", required=True, help="id or path of a model, as in a track")
    parser.add_argument("--window", type=int, help="tokens of context")
    parser.add_argument("--delay-s", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--cut-after", type=int, help="cut every answer after this many tokens")
    parser.add_argument("--threads", type=int, help="threads of the llamacpp engine")
    parser.add_argument("--port", type=int, default=0, help="port, 0 for a free one")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    track = {"engine": options.engine, "model": options.model, "window": options.window}
    if options.threads:
        track["options"] = {"threads": options.threads}
    unused = {"engine": "scripted", "model": "none", "enabled": False}
    settings = {key: value for key, value in track.items() if value is not None}
    tracks = {"local": unused, "api": unused, TRACK: settings}
    echo = ScriptedEngine(reply=lambda request: [request.messages[-1].content])
    async with vanta.open(tracks=tracks, plugins=[scripted_plugin(**{TRACK: echo})]) as runtime:
        await runtime.warm_up(TRACK)
        # Before the headers, so that the engine is idle meanwhile: it may share the client's cores.
        slow = Behaviour(headers_after_s=options.delay_s)
        if options.cut_after is not None:
            slow = slow.but(fault="cut", after=options.cut_after)
        generate = behind(runtime.tracks[TRACK].engine)
        async with Upstream(
            default=slow, generate=generate, models=(options.model,), port=options.port
        ) as upstream:
            await _until_stopped(partial(_announce, upstream.base_url, options))


def _announce(base_url: str, options: argparse.Namespace) -> None:
    line = {"base_url": base_url, "model": options.model, "delay_s": options.delay_s}
    print(json.dumps(line), flush=True)


async def _until_stopped(announce: Callable[[], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_on_signal, signals, tasks.cancel_scope)
            announce()
            await _until_stdin_ends()
            tasks.cancel_scope.cancel()


async def _on_signal(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _until_stdin_ends() -> None:
    # No thread: a blocked read would keep the process alive after a signal.
    stdin = sys.stdin.fileno()
    while True:
        with contextlib.suppress(OSError):  # a file is always readable
            await anyio.wait_readable(stdin)
        if not os.read(stdin, 4096):
            return


if __name__ == "__main__":
    sys.exit(main())
