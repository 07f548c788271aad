"""A stream or runtime is left at any point, from any task; only the caller's own error leaves."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta.errors import RunError
from vanta.events import Event, TextDelta, TurnFailed
from vanta.runtime import Runtime
from vanta.testing import Hang, Say, ScriptedEngine

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
only_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def endless() -> ScriptedEngine:
    return ScriptedEngine(Say("one "), Say("two "), Hang())


async def words(runtime: Runtime) -> AsyncGenerator[str]:
    """Yield the words of a reply, as a web handler does."""
    async with runtime.session("ada").stream("hi") as turn:
        async for event in turn:
            if isinstance(event, TextDelta):
                yield event.text


async def has_stopped(runtime: Runtime, engine: ScriptedEngine) -> None:
    """Wait until the turn is over, then answer another one of the same session."""
    with anyio.fail_after(10):
        while engine.streaming:
            await anyio.wait_all_tasks_blocked()
    with anyio.fail_after(10):
        await runtime.idle()


async def test_closing_the_generator_in_another_task_stops_the_turn(tmp_path: Path) -> None:
    engine = endless()
    async with open_scripted(tmp_path, local=engine) as runtime:
        generator = words(runtime)
        assert await anext(generator) == "one "
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generator.aclose)
        await has_stopped(runtime, engine)


async def test_each_item_may_be_read_in_another_task(tmp_path: Path) -> None:
    engine = endless()
    texts: list[str] = []

    async def read() -> None:
        texts.append(await anext(generator))

    async with open_scripted(tmp_path, local=engine) as runtime:
        generator = words(runtime)
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
        await generator.aclose()
        await has_stopped(runtime, engine)
    assert texts == ["one ", "two "]


async def test_an_error_of_the_reader_comes_out_as_itself(tmp_path: Path) -> None:
    engine = endless()
    async with open_scripted(tmp_path, local=engine) as runtime:
        generator = words(runtime)

        async def read() -> None:
            async for _ in generator:
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await read()
        await generator.aclose()
        await has_stopped(runtime, engine)


async def test_a_cancelled_reader_stops_the_turn(tmp_path: Path) -> None:
    engine = endless()
    async with open_scripted(tmp_path, local=engine) as runtime:
        generator = words(runtime)
        with anyio.CancelScope() as scope:
            async for _ in generator:
                scope.cancel()
        assert scope.cancelled_caught
        await generator.aclose()
        await has_stopped(runtime, engine)


@only_asyncio
async def test_a_loop_left_by_break_stops_the_turn_when_the_generator_is_collected(
    tmp_path: Path,
) -> None:
    engine = endless()
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    async with open_scripted(tmp_path, local=engine) as runtime:
        async for _ in words(runtime):
            break
        gc.collect()
        await has_stopped(runtime, engine)
    loop.set_exception_handler(None)
    assert complaints == []


@only_asyncio
async def test_asyncio_wait_for_around_each_item_reads_on_and_stops_the_turn_at_its_timeout(
    tmp_path: Path,
) -> None:
    engine = endless()
    async with open_scripted(tmp_path, local=engine) as runtime:
        generator = words(runtime)
        texts = [await asyncio.wait_for(anext(generator), 10) for _ in range(2)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(generator), 0.01)
        await has_stopped(runtime, engine)
    assert texts == ["one ", "two "]


@only_asyncio
async def test_a_cancelled_task_of_asyncio_stops_its_turn(tmp_path: Path) -> None:
    engine = endless()
    async with open_scripted(tmp_path, local=engine) as runtime:
        task = asyncio.create_task(runtime.session("ada").ask("hi"))
        await engine.run(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await has_stopped(runtime, engine)
        (record,) = await runtime.store.records()
    assert record["status"] == "cancelled"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("mine")])
async def test_what_the_caller_raises_inside_leaves_as_itself(
    tmp_path: Path, error: BaseException
) -> None:
    engine = endless()

    async def raise_in_open() -> None:
        async with open_scripted(tmp_path, local=engine):
            raise error

    async def raise_in_stream() -> None:
        async with (
            open_scripted(tmp_path, local=engine) as runtime,
            runtime.session("ada").stream("hi") as turn,
        ):
            await anext(turn)
            raise error

    for raises in (raise_in_open, raise_in_stream):
        with pytest.raises(type(error)) as raised:
            await raises()
        assert raised.value is error
    assert engine.streaming == 0


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("mine")])
def test_what_the_caller_of_the_facade_raises_inside_leaves_as_itself(
    tmp_path: Path, error: BaseException
) -> None:
    engine = endless()

    def raise_in_stream() -> None:
        with (
            open_scripted(tmp_path, local=engine) as runtime,
            runtime.session("ada").stream("hi") as turn,
        ):
            next(iter(turn))
            raise error

    with pytest.raises(type(error)) as raised:
        raise_in_stream()
    assert raised.value is error
    assert engine.streaming == 0


async def test_closing_the_runtime_stops_its_turns_and_their_readers_get_an_error(
    tmp_path: Path,
) -> None:
    engine = endless()
    async with open_scripted(tmp_path, local=engine) as runtime:
        streaming = runtime.session("ada").stream("hi")
        turn = await streaming.__aenter__()
        await anext(turn)
    assert engine.streaming == 0
    events: list[Event] = []

    async def read() -> None:
        async for event in turn:
            events.append(event)  # noqa: PERF401 - kept when the loop raises

    with pytest.raises(RunError, match="runtime was closed"):
        await read()
    assert isinstance(events[-1], TurnFailed)
    await streaming.__aexit__(None, None, None)
    with pytest.raises(RunError, match="runtime is closed"):
        await runtime.session("ada").ask("hi")


def run_script(body: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has the scripted runtime at hand."""
    script = textwrap.dedent("""
        import asyncio, os, pathlib, signal, sys, anyio
        from tests.runtime.home import open_scripted
        from vanta.events import TextDelta
        from vanta.testing import Hang, Say, ScriptedEngine

        class Interrupting(ScriptedEngine):
            "Sends Ctrl-C to the program when its reply begins; `raises` does so in the leg's task."
            async def load(self):
                if sys.argv[2] == "signal":
                    os.kill(os.getpid(), signal.SIGINT)
                elif sys.argv[2] == "exit":
                    sys.exit(3)

        folder = pathlib.Path(sys.argv[1])
        engine = Interrupting(Say("one "), Hang())
    """) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", script, *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )


ASYNC_ASK = """
    async def main():
        async with open_scripted(folder, local=engine) as runtime:
            await runtime.session("ada").ask("hi")
    anyio.run(main, backend=sys.argv[3])
"""
ASYNC_STREAM = """
    async def main():
        async with open_scripted(folder, local=engine) as runtime:
            async with runtime.session("ada").stream("hi") as turn:
                async for event in turn:
                    pass
    anyio.run(main, backend=sys.argv[3])
"""
SYNC_ASK = """
    with open_scripted(folder, local=engine) as runtime:
        runtime.session("ada").ask("hi")
"""
SYNC_STREAM = """
    with open_scripted(folder, local=engine) as runtime:
        with runtime.session("ada").stream("hi") as turn:
            for event in turn:
                pass
"""


@pytest.mark.parametrize("body", [ASYNC_ASK, ASYNC_STREAM])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_during_a_turn_ends_the_program_as_an_interrupt(
    tmp_path: Path, body: str, backend: str
) -> None:
    ended = run_script(body, str(tmp_path), "signal", backend)
    assert "ExceptionGroup" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("body", [SYNC_ASK, SYNC_STREAM])
def test_ctrl_c_during_a_turn_of_the_facade_ends_the_program_as_an_interrupt(
    tmp_path: Path, body: str
) -> None:
    ended = run_script(body, str(tmp_path), "signal")
    assert "ExceptionGroup" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("body", [ASYNC_ASK, ASYNC_STREAM])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_sys_exit_in_an_engine_ends_the_program_with_its_code(
    tmp_path: Path, body: str, backend: str
) -> None:
    ended = run_script(body, str(tmp_path), "exit", backend)
    assert "ExceptionGroup" not in ended.stderr
    assert ended.returncode == 3
