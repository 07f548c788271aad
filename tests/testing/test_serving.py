"""A real engine behind the server, in this process and in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx2
import pytest

from vanta.engine import Capabilities
from vanta.errors import ErrorKind
from vanta.messages import Message
from vanta.testing import Behaviour, Fail, Hang, ScriptedEngine, Upstream
from vanta.testing._engine_backend import parse_request

BODY = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]}


async def post(base_url: str, **rest: object) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.post(f"{base_url}/chat/completions", json={**BODY, **rest})


@pytest.mark.anyio
async def test_an_engine_behind_the_server_gets_the_request_and_answers_it() -> None:
    engine = ScriptedEngine(reply=lambda request: [request.messages[-1].content])
    async with Upstream(engine=engine) as upstream:
        response = await post(upstream.base_url, max_tokens=2, logprobs=True, top_logprobs=1)
    choice = response.json()["choices"][0]
    assert choice["message"]["content"] == "one two"
    assert choice["finish_reason"] == "length"
    assert [token["token"] for token in choice["logprobs"]["content"]] == ["one", " two"]
    assert response.json()["usage"]["completion_tokens"] == 2


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_disconnects_stops_the_engine(stream: bool) -> None:
    engine = ScriptedEngine("one", Hang())
    async with Upstream(engine=engine) as upstream, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: post(upstream.base_url, stream=stream))
        run = await engine.run(0)
        await (await upstream.chat(0)).reached(1)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await run.stopped.wait()
    assert run.cancelled


@pytest.mark.anyio
async def test_an_engine_that_fails_is_an_error_status_or_an_error_frame() -> None:
    failing = ScriptedEngine("one", Fail(ErrorKind.OVERLOADED))
    refusing = ScriptedEngine("one", capabilities=Capabilities())
    async with Upstream(engine=failing) as late, Upstream(engine=refusing) as early:
        frames = (await post(late.base_url, stream=True)).text
        status = (await post(late.base_url)).status_code
        refusal = await post(early.base_url, logprobs=True)
    assert '"code":"overloaded"' in frames
    assert status == 503
    assert refusal.status_code == 400


@pytest.mark.anyio
async def test_faults_apply_to_an_engine() -> None:
    async with Upstream(Behaviour(fault="cut", after=1), engine=ScriptedEngine("a b")) as upstream:
        with pytest.raises(httpx2.ReadError):
            await post(upstream.base_url, stream=True)
        assert upstream.chats[0].text_sent == "a"


def test_a_request_keeps_its_meaning() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request = parse_request(
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": [{"type": "text", "text": "4"}], "tool_call_id": "c"},
                {"role": "assistant", "content": "So "},
            ],
            "stop": "x",
            "seed": 3,
            "logit_bias": {"5": -1},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}},
        }
    )
    assert request.prefix == "So "
    assert request.messages[0].tool_calls[0].name == "f"
    assert request.messages[1] == Message("tool", "4", tool_call_id="c")
    assert request.sampling.stop == ("x",)
    assert request.sampling.logit_bias == {5: -1}
    assert request.sampling.json_schema == {"a": 1}
    assert (request.sampling.seed, request.tools[0].name) == (3, "f")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "vanta.testing.serve", "--engine", "scripted", "--model", "m"]
    environ = {**os.environ, "VANTA_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        yield process
        process.kill()


def announced(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["base_url"])


def test_a_served_engine_answers_from_its_own_process(served: subprocess.Popen[str]) -> None:
    response = httpx2.post(f"{announced(served)}/chat/completions", json=BODY, trust_env=False)
    assert response.json()["choices"][0]["message"]["content"] == "one two three"


def test_a_served_engine_ends_when_its_standard_input_is_closed(
    served: subprocess.Popen[str],
) -> None:
    announced(served)
    assert served.stdin is not None
    served.stdin.close()
    assert served.wait(30) == 0


def test_a_served_engine_ends_on_a_signal(served: subprocess.Popen[str]) -> None:
    announced(served)
    served.send_signal(signal.SIGTERM)
    assert served.wait(30) == 0


def test_a_server_whose_engine_does_not_exist_reports_it() -> None:
    command = [sys.executable, "-m", "vanta.testing.serve", "--engine", "none", "--model", "m"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'none'" in json.loads(done.stdout)["error"]
