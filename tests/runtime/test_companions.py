"""Companions run as long as the runtime, yield to turns, and fail alone."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import anyio
import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.companion import Companion, Host
from vanta.errors import UnknownName
from vanta.runtime import Runtime, in_quiet
from vanta.testing import ScriptedEngine, Wait

pytestmark = pytest.mark.anyio


class Friend:
    """A plugin with one companion, which does `work`; `begun` and `ended` mark its life."""

    def __init__(self, work: Callable[[Host], Awaitable[None]], name: str = "friend") -> None:
        self.name = name
        self.work = work
        self.times = 0
        self.begun = anyio.Event()
        self.ended = anyio.Event()

    @vanta.hookimpl
    def vanta_companions(self) -> Iterable[Companion]:
        return [self]

    async def accompany(self, host: Host, /) -> None:
        self.times += 1
        self.begun.set()
        try:
            await self.work(host)
        finally:
            self.ended.set()


async def for_ever(_host: Host) -> None:
    await anyio.sleep_forever()


async def test_a_companion_runs_as_long_as_the_runtime_and_ends_before_its_engines(
    tmp_path: Path,
) -> None:
    runtimes: list[Runtime] = []

    async def ask_at_the_end(_host: Host) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await runtimes[0].session("last words").ask("hi")

    friend, engine = Friend(ask_at_the_end), ScriptedEngine("x")
    async with open_scripted(
        tmp_path, local=engine, plugins=[friend], companions=["friend", "friend"]
    ) as runtime:
        runtimes.append(runtime)
        await friend.begun.wait()
        assert not friend.ended.is_set()
    assert friend.ended.is_set()
    assert friend.times == 1
    assert len(engine.runs) == 1


async def test_a_companion_is_off_until_the_configuration_names_it(tmp_path: Path) -> None:
    friend = Friend(for_ever)
    async with open_scripted(tmp_path, local=ScriptedEngine("x"), plugins=[friend]) as runtime:
        await runtime.session("ada").ask("hi")
    assert not friend.begun.is_set()
    with pytest.raises(UnknownName, match="'friend'"):
        async with open_scripted(
            tmp_path, local=ScriptedEngine("x"), plugins=[friend], companions=["frend"]
        ):
            pass


async def test_a_companion_that_fails_ends_alone_and_is_logged_once_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_host: Host) -> None:
        raise ValueError("a bug of its own")

    records: list[logging.LogRecord] = []  # unformatted: tracebacks read files
    monkeypatch.setattr(logging.getLogger("vanta"), "handle", records.append)
    bad, good = Friend(fail, "bad"), Friend(for_ever, "good")
    async with open_scripted(
        tmp_path, local=ScriptedEngine("x"), plugins=[bad, good], companions=["bad", "good"]
    ) as runtime:
        await bad.ended.wait()
        assert (await runtime.session("ada").ask("hi")).text == "x"
        assert not good.ended.is_set()
    (record,) = records
    assert "'bad'" in record.getMessage()
    assert record.levelno == logging.ERROR


async def _fail_once(begun: anyio.Event) -> None:
    await begun.wait()
    raise ZeroDivisionError


async def test_an_error_in_the_body_of_open_comes_out_as_itself(tmp_path: Path) -> None:
    friend = Friend(for_ever)
    with pytest.raises(ZeroDivisionError):
        async with open_scripted(
            tmp_path, local=ScriptedEngine("x"), plugins=[friend], companions=["friend"]
        ):
            await _fail_once(friend.begun)
    assert friend.ended.is_set()


async def test_cancelling_the_task_that_opened_the_runtime_ends_its_companions(
    tmp_path: Path,
) -> None:
    friend, engine = Friend(for_ever), ScriptedEngine("x")
    with anyio.CancelScope() as scope:
        async with open_scripted(tmp_path, local=engine, plugins=[friend], companions=["friend"]):
            await friend.begun.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert friend.ended.is_set()


def test_a_synchronous_program_has_companions_too(tmp_path: Path) -> None:
    friend = Friend(for_ever)
    with open_scripted(
        tmp_path, local=ScriptedEngine("x"), plugins=[friend], companions=["friend"]
    ) as runtime:
        runtime.portal.call(friend.begun.wait)
    assert friend.ended.is_set()


async def test_work_in_quiet_waits_for_turns_yields_to_them_and_completes(
    tmp_path: Path,
) -> None:
    first, second = anyio.Event(), anyio.Event()
    engine = ScriptedEngine(scripts=[[Wait(first), "one"], [Wait(second), "two"]])
    tries: list[str] = []
    tried = [anyio.Event(), anyio.Event()]
    working = anyio.Event()

    async def work() -> str:
        tries.append("begun")
        tried[len(tries) - 1].set()
        try:
            await working.wait()
        except BaseException:
            tries[-1] = "cancelled"
            raise
        return "done"

    async def ask(runtime: Runtime, text: str) -> None:
        await runtime.session("ada").ask(text)

    results: list[str] = []

    async def in_the_background(host: Host) -> None:
        results.append(await in_quiet(host, work))

    async with open_scripted(tmp_path, local=engine) as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, runtime, "one")
        await engine.run(0)
        tasks.start_soon(in_the_background, runtime)
        await anyio.wait_all_tasks_blocked()
        assert tries == []
        first.set()
        await tried[0].wait()
        tasks.start_soon(ask, runtime, "two")
        await engine.run(1)
        await anyio.wait_all_tasks_blocked()
        assert tries == ["cancelled"]
        second.set()
        await tried[1].wait()
        working.set()
    assert tries == ["cancelled", "begun"]
    assert results == ["done"]


async def test_an_error_of_work_in_quiet_comes_out_as_itself(tmp_path: Path) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        with pytest.raises(ZeroDivisionError):
            await in_quiet(runtime, fail)
