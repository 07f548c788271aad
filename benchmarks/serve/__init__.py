"""The cost of the server: what it adds to an answer of the server behind it.

One upstream answers at once. A plain client asks it directly and through `vanta serve`,
one after the other, over kept connections; each is a process of its own. What is added to the first
content of a stream, and to a whole answer, is the server's cost: turn, store, policy and HTTP. The
peer is LiteLLM's proxy before the same upstream. Last, an upstream cuts every answer in the middle,
and a second track finishes it. Invariant: all ways alternate in every repetition, so that load on
the machine affects all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from ..report import Figure, Settings, median, percentile

SUMMARY = "what the server adds to an answer, beside LiteLLM's proxy; broken streams finished"

FIRST_GOAL_MS, WHOLE_GOAL_MS = 3.0, 2.0
MESSAGE = " ".join(f"word{number}" for number in range(20))
_ROOT = Path(__file__).resolve().parents[2]
_WARM_UP = 10
_START_S = 60.0


@dataclass(slots=True)
class Way:
    """One way to the upstream.

    :param url: the base URL.
    :param model: the name of the model to ask for.
    :ivar first_s: seconds until the first content of each stream.
    :ivar whole_s: seconds until each whole answer.
    """

    url: str
    model: str = "m"
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)


def run(settings: Settings) -> Iterator[Figure]:
    """Measure what is added, then the streams that break."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(_upstream())
        ways = {"direct": Way(upstream)}
        ways["vanta"] = Way(stack.enter_context(_program([*_SERVE, upstream])), "vanta")
        peer = _peer(settings, upstream, stack)
        if isinstance(peer, Way):
            ways["litellm"] = peer
        _alternate(ways, settings.times(500, 20), settings)
        yield from _added(ways, "" if isinstance(peer, Way) else peer)
    yield _broken(settings.times(200, 5), settings)


_SERVE = [sys.executable, "-m", "benchmarks.serve.program"]
_UPSTREAM = [sys.executable, "-m", "benchmarks.serve.upstream"]


@contextlib.contextmanager
def _program(command: list[str]) -> Iterator[str]:
    """Run a program that prints its base URL; yield the URL."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _upstream(*more: str) -> contextlib.AbstractContextManager[str]:
    return _program([*_UPSTREAM, MESSAGE, *more])


def _peer(settings: Settings, upstream: str, stack: contextlib.ExitStack) -> Way | str:
    """Start LiteLLM's proxy; without it, return the reason."""
    python = settings.peer_python
    program = None if python is None else python.with_name("litellm")
    if program is None or not program.exists():
        return (
            "no peer: python -m venv peer && peer/bin/pip install 'litellm[proxy]', then "
            "--peer-python peer/bin/python"
        )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    params = {"model": "openai/m", "api_base": upstream, "api_key": "none"}
    config = folder / "config.yaml"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": params}]}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    way = Way(f"http://127.0.0.1:{port}/v1")
    return way if _answers(way, process) else "no peer: LiteLLM's proxy did not start"


def _answers(way: Way, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx2.HTTPError), httpx2.Client(trust_env=False) as client:
            if _whole(client, way).status_code == 200:
                return True
        time.sleep(0.2)
    return False


def _alternate(ways: dict[str, Way], repetitions: int, settings: Settings) -> None:
    with httpx2.Client(trust_env=False, timeout=30.0) as client:
        for number in range(-_WARM_UP, repetitions):
            if not number:
                for way in ways.values():
                    way.first_s.clear()
                    way.whole_s.clear()
            for way in ways.values():
                way.first_s.append(_first_content_s(client, way))
                begun = time.perf_counter()
                _whole(client, way).raise_for_status()
                way.whole_s.append(time.perf_counter() - begun)
            settings.progress("requests", max(0, number), repetitions)


def _body(way: Way, *, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": MESSAGE}]
    return {"model": way.model, "messages": messages, "stream": stream}


def _whole(client: httpx2.Client, way: Way) -> httpx2.Response:
    return client.post(f"{way.url}/chat/completions", json=_body(way, stream=False))


def _first_content_s(client: httpx2.Client, way: Way) -> float:
    begun, first_s = time.perf_counter(), 0.0
    url = f"{way.url}/chat/completions"
    with client.stream("POST", url, json=_body(way, stream=True)) as response:
        for line in response.iter_lines():
            if not first_s and '"content":' in line and "word0" in line:
                first_s = time.perf_counter() - begun
    return first_s


def _added(ways: dict[str, Way], why: str) -> Iterator[Figure]:
    direct = ways["direct"]
    for name, goal, durations in (
        ("added to the first content of a stream", FIRST_GOAL_MS, "first_s"),
        ("added to a whole answer", WHOLE_GOAL_MS, "whole_s"),
    ):
        added = {
            key: [
                1000 * (through - alone)
                for through, alone in zip(
                    getattr(way, durations), getattr(direct, durations), strict=True
                )
            ]
            for key, way in ways.items()
        }
        peer = added.get("litellm")
        yield Figure(
            name=f"{name}, median",
            value=median(added["vanta"]),
            unit="ms",
            goal=goal,
            peer="LiteLLM's proxy" if peer else None,
            peer_value=median(peer) if peer else None,
            note=f"{len(added['vanta'])} requests, stored. {why}".strip(),
        )
        yield Figure(
            name=f"{name}, p99",
            value=percentile(added["vanta"], 0.99),
            unit="ms",
            peer="LiteLLM's proxy" if peer else None,
            peer_value=percentile(peer, 0.99) if peer else None,
            note="for reference: one in a hundred is slower",
        )


def _broken(streams: int, settings: Settings) -> Figure:
    finished = 0
    with (
        _upstream("5") as cut,
        _upstream() as sound,
        _program([*_SERVE, cut, sound]) as url,
        httpx2.Client(trust_env=False, timeout=30.0) as client,
    ):
        way = Way(url, "vanta")
        for number in range(streams):
            with client.stream(
                "POST", f"{url}/chat/completions", json=_body(way, stream=True)
            ) as response:
                finished += _text(response) == MESSAGE
            settings.progress("broken streams", number, streams)
    return Figure(
        name="streams broken in the middle that are finished",
        value=100 * finished / streams,
        unit="%",
        better="higher",
        goal=100.0,
        note=f"{streams} streams: the text is that of the sound track, nothing lost or doubled",
    )


def _text(response: httpx2.Response) -> str:
    pieces = []
    for line in response.iter_lines():
        data = line.removeprefix("data: ")
        if line.startswith("data: {"):
            choices = json.loads(data).get("choices") or [{}]
            pieces.append(choices[0].get("delta", {}).get("content") or "")
    return "".join(pieces)
