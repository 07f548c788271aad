"""`vanta serve` and `vanta keys` as a user starts them: real processes, signals, an orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
import pytest

from vanta.testing import Behaviour, Upstream

pytestmark = pytest.mark.anyio


def environment(folder: Path, base_url: str) -> dict[str, str]:
    """Return the environment of a user whose one track is at `base_url`."""
    config = folder / "vanta.toml"
    config.write_text(
        f"""
data_dir = {str(folder / "data")!r}
policy = "api"
memory.enabled = false
[tracks.local]
enabled = false
[tracks.api]
engine = "openai"
model = "test-model"
options = {{ base_url = {base_url!r} }}
""",
        "utf-8",
    )
    return {**os.environ, "VANTA_CONFIG": str(config)}


def vanta(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vanta", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def serving(*words: str, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server; yield its process and its base URL."""
    command = [sys.executable, "-m", "vanta", "serve", "--port", "0", *words]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.kill()


async def ask(url: str, key: str = "none") -> str:
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="vanta", messages=[{"role": "user", "content": "Hi"}]
        )
    return answer.choices[0].message.content or ""


def end(process: subprocess.Popen[str], *numbers: int) -> tuple[int, str]:
    """Send signals; return the exit code and what was written to stderr."""
    for number in numbers:
        process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_server_answers_until_a_signal(number: int, tmp_path: Path) -> None:
    async with Upstream(Behaviour.answer("Hello there")) as upstream:
        env = environment(tmp_path, upstream.base_url)
        with serving(env=env) as (process, url):
            assert await ask(url) == "Hello there"
            code, err = await anyio.to_thread.run_sync(end, process, number)
    assert code == 0
    assert "Stopped." in err
    assert "Traceback" not in err


async def test_a_running_answer_is_finished_first(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with Upstream(Behaviour.answer("Hello there", headers_gate=gate)) as upstream:
        env = environment(tmp_path, upstream.base_url)
        answers: list[str] = []

        async def take(url: str) -> None:
            answers.append(await ask(url))

        with serving(env=env) as (process, url):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take, url)
                await upstream.chat(0)
                process.send_signal(signal.SIGTERM)
                gate.set()
            code, _ = await anyio.to_thread.run_sync(end, process)
    assert (answers, code) == (["Hello there"], 0)


async def test_keys_are_created_listed_and_revoked(tmp_path: Path) -> None:
    async with Upstream(Behaviour.answer("Hello there")) as upstream:
        env = environment(tmp_path, upstream.base_url)
        made = await anyio.to_thread.run_sync(lambda: vanta("keys", "create", "anna", env=env))
        secret = made.stdout.strip()
        with serving(env=env) as (_, url):
            assert await ask(url, secret) == "Hello there"
            async with httpx2.AsyncClient(trust_env=False) as client:
                refused = await client.get(f"{url}/models")
        listed = await anyio.to_thread.run_sync(lambda: vanta("keys", "list", "--json", env=env))
    assert refused.status_code == 401
    assert "anna" in listed.stdout
    assert secret not in listed.stdout
    identity = made.stderr.split("key ")[1].split(" ")[0]
    assert vanta("keys", "revoke", identity, env=env).returncode == 0
    assert vanta("keys", "revoke", identity, env=env).returncode == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--host", "0.0.0.0"], "vanta keys create"),  # noqa: S104 - it is refused
        (["--host", "192.0.2.1"], "keys"),
        (["--port", "99999"], "--port"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(
    words: list[str], problem: str, tmp_path: Path
) -> None:
    done: Any = vanta("serve", *words, env=environment(tmp_path, "http://127.0.0.1:9/v1"))
    assert done.returncode == 2
    assert problem in done.stderr
