"""A process that is killed in the middle of a call: it ran once, and the session says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.home import open_scripted
from vanta import AllTracksFailed, ErrorKind, GenerationRequest
from vanta.testing import Fail, ScriptedEngine

pytestmark = pytest.mark.anyio

CHILD = """
import sys
from pathlib import Path
import anyio, vanta
from tests.runtime.home import open_scripted
from vanta.testing import CallTool, ScriptedEngine

home = Path(sys.argv[1])

@vanta.tool(effect=sys.argv[2])
async def pay(amount: int) -> str:
    "Pay somebody."
    with (home / "paid").open("a") as file:
        file.write(f"{amount}\\n")
    print("running", flush=True)
    await anyio.sleep_forever()
    return ""

async def main() -> None:
    engine = ScriptedEngine(CallTool("pay", '{"amount": 5}', id="first"))
    async with open_scripted(home, local=engine, own_tools=[pay], policy="local") as runtime:
        await runtime.session("a").ask("Pay 5.", deadline_s=600)

anyio.run(main, backend=sys.argv[3])
"""


def killed_while_it_pays(home: Path, effect: str, backend: str) -> None:
    """Run a turn in a child process, and kill it while its call runs."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), effect, backend],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        child.send_signal(signal.SIGKILL)


def other() -> None:
    """Do nothing."""


@pytest.mark.parametrize("effect", ["write", "idempotent"])
async def test_after_a_kill_the_call_is_unknown_and_the_session_goes_on_with_it(
    effect: str, tmp_path: Path, anyio_backend: str
) -> None:
    killed_while_it_pays(tmp_path, effect, anyio_backend)
    seen: list[Sequence[Any]] = []

    def reply(request: GenerationRequest) -> list[str]:
        seen.append(request.messages)
        return ["I do not know whether it was paid."]

    local = ScriptedEngine(reply=reply)
    async with open_scripted(tmp_path, local=local, own_tools=[other], policy="local") as runtime:
        session = runtime.session("a")
        (call,) = await runtime.journal.list()
        assert call.state == "started"
        await session.ask("Was it paid?")
        (call,) = await runtime.journal.list()
        assert call.state == "unknown"
        await session.ask("Sure?")
        history = await session.history()
    assert (tmp_path / "paid").read_text().splitlines() == ["5"]
    assert [message.role for message in seen[0]] == ["system", "assistant", "tool", "user"]
    assert seen[0][1].tool_calls[0].arguments == '{"amount":5}'
    assert "unknown" in seen[0][2].content
    assert [message.role for message in history].count("tool") == 1


async def test_a_turn_that_fails_does_not_use_up_the_report(
    tmp_path: Path, anyio_backend: str
) -> None:
    killed_while_it_pays(tmp_path, "write", anyio_backend)
    seen: list[str] = []

    def reply(request: GenerationRequest) -> list[Any]:
        seen.append(" ".join(message.content for message in request.messages))
        return [Fail(ErrorKind.BAD_REQUEST)] if len(seen) == 1 else ["Not known."]

    local = ScriptedEngine(reply=reply)
    async with open_scripted(tmp_path, local=local, own_tools=[other], policy="local") as runtime:
        session = runtime.session("a")
        with pytest.raises(AllTracksFailed):
            await session.ask("Was it paid?")
        await session.ask("Was it paid?")
    assert len(seen) == 2
    assert all("unknown" in prompt for prompt in seen)
