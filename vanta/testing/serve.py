"""An OpenAI-compatible server in a process of its own, with a real engine behind it.

    python -m vanta.testing.serve --engine llamacpp --model smollm2-135m --delay-s 0.4

It prints one line of JSON when it listens (`{"base_url": ..., "model": ..., "delay_s": ...}`), or
one line with an `error`. The delay is simulated and is said to be: it comes before the server
begins with an answer; so is the cut that `--cut-after` asks for. Invariant: it ends when its
standard input is closed or on SIGTERM, so that it never outlives the program that started it.
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
from vanta.testing.scripted import ScriptedEngine, scripted_plugin
from vanta.testing.upstream import Upstream

TRACK = "served"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code is 1 if the engine could not be opened."""
    options = _parser().parse_args(argv)
    try:
        anyio.run(_serve, options)
    except VantaError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vanta.testing.serve", description=__doc__)
    parser.add_argument("--engine", default="llamacpp", help="'scripted' repeats what it is told")
    parser.add_argument("--model", required=True, help="a model's id or path, as in a track")
    parser.add_argument("--window", type=int, help="tokens of context")
    parser.add_argument("--delay-s", type=float, default=0.0, help="before each answer")
    parser.add_argument(
        "--cut-after", type=int, help="break every answer off after this many tokens"
    )
    parser.add_argument("--threads", type=int, help="threads of the llamacpp engine")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    track = {"engine": options.engine, "model": options.model, "window": options.window}
    if options.threads:
        track["options"] = {"threads": options.threads}
    unused = {"engine": "scripted", "model": "none", "enabled": False}
    asked = {key: value for key, value in track.items() if value is not None}
    tracks = {"local": unused, "api": unused, TRACK: asked}
    echo = ScriptedEngine(reply=lambda request: [request.messages[-1].content])
    async with vanta.open(tracks=tracks, plugins=[scripted_plugin(**{TRACK: echo})]) as runtime:
        await runtime.warm_up(TRACK)
        # Before the headers, so that the engine rests meanwhile: it may share the client's cores.
        slow = Behaviour(headers_after_s=options.delay_s)
        if options.cut_after is not None:
            slow = slow.but(fault="cut", after=options.cut_after)
        generate = behind(runtime.tracks[TRACK].engine)
        async with Upstream(
            default=slow, generate=generate, models=(options.model,), port=options.port
        ) as upstream:
            await _until_told_to_stop(partial(_announce, upstream.base_url, options))


def _announce(base_url: str, options: argparse.Namespace) -> None:
    line = {"base_url": base_url, "model": options.model, "delay_s": options.delay_s}
    print(json.dumps(line), flush=True)


async def _until_told_to_stop(announce: Callable[[], None]) -> None:
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
    # No thread: one that is stuck in a read would keep the process after a signal.
    stdin = sys.stdin.fileno()
    while True:
        with contextlib.suppress(OSError):  # a file cannot be waited for: it is always readable
            await anyio.wait_readable(stdin)
        if not os.read(stdin, 4096):
            return


if __name__ == "__main__":
    sys.exit(main())
