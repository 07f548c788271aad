"""Templates that are edited while a runtime is open take effect, and nothing blocks the loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.runtime.home import open_scripted
from vanta.errors import TemplateError
from vanta.prompts import LivePrompts, Templates
from vanta.testing import ScriptedEngine

pytestmark = pytest.mark.anyio


class Files:
    """A user's templates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "templates"

    def write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at before every turn, however soon it comes."""
    monkeypatch.setattr("vanta.prompts.live.INTERVAL_S", 0.0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    monkeypatch.setattr(logging.getLogger("vanta"), "propagate", True)
    messages: list[str] = []
    with caplog.at_level(logging.INFO, logger="vanta"):
        yield messages
        messages += [record.getMessage() for record in caplog.records]


def systems(engine: ScriptedEngine) -> list[str]:
    return [request.messages[0].content for request in engine.requests]


@pytest.mark.usefixtures("no_blocking", "every_turn")
async def test_an_edited_template_takes_effect_in_the_next_turn(
    tmp_path: Path, files: Files
) -> None:
    files.write("system/_part.j2", "old")
    files.write("system/mine.j2", "{% include 'system/_part' %} {{ user }}")
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine, system="mine") as runtime:
        session = runtime.session("s", user="ada")
        await session.ask("hi")
        files.write("system/_part.j2", "new part")
        await session.ask("hi")
        async with session.stream("hi") as turn:
            files.write("system/mine.j2", "quite new")
            [_ async for _ in turn]
        await session.ask("hi")
    assert systems(engine) == ["old ada", "new part ada", "new part ada", "quite new"]


@pytest.mark.usefixtures("no_blocking", "every_turn")
async def test_a_session_with_a_template_of_its_own_sees_edits_too(
    tmp_path: Path, files: Files
) -> None:
    files.write("system/own.j2", "{{ ship }} one")
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("s", system="own", variables={"ship": "Vanta"})
        await session.ask("hi")
        files.write("system/own.j2", "{{ ship }} number two")
        await session.ask("hi")
    assert systems(engine) == ["Vanta one", "Vanta number two"]


@pytest.mark.usefixtures("no_blocking", "every_turn")
async def test_a_file_that_comes_hides_ours_and_one_that_goes_shows_it_again(
    tmp_path: Path, files: Files
) -> None:
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("s")
        await session.ask("hi")
        path = files.write("system/default.j2", "mine")
        await session.ask("hi")
        path.unlink()
        await session.ask("hi")
    ours, mine, again = systems(engine)
    assert ours.startswith("You are Vanta")
    assert (mine, again) == ("mine", ours)


@pytest.mark.usefixtures("no_blocking", "every_turn")
async def test_a_template_that_an_edit_breaks_is_said_once_and_its_last_good_text_goes_on(
    tmp_path: Path, files: Files, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = files.write("system/mine.j2", "good")
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine, system="mine") as runtime:
        session = runtime.session("s")
        await session.ask("hi")
        for text in ("bad\n{% if %}", "bad {{ nobody }}", "---\nnmae: x\n---\n"):
            files.write("system/mine.j2", text)
            await session.ask("hi")
            await session.ask("hi")
        files.write("system/mine.j2", "good again")
        await session.ask("hi")
    assert systems(engine) == ["good"] * 7 + ["good again"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 3
    assert f"{path}:2" in warnings[0]
    assert all("last version that worked stays in use" in each for each in warnings)


@pytest.mark.usefixtures("no_blocking", "every_turn")
async def test_a_template_that_was_never_fine_is_an_error_until_it_is(
    tmp_path: Path, files: Files
) -> None:
    files.write("system/mine.j2", "{{ nobody }}")
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine, system="mine") as runtime:
        with pytest.raises(TemplateError, match="'nobody' is undefined"):
            await runtime.session("s").ask("hi")
        files.write("system/mine.j2", "fine")
        await runtime.session("s").ask("hi")
    assert systems(engine) == ["fine"]


async def test_between_two_looks_no_file_is_looked_at(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vanta.prompts.live.INTERVAL_S", 1e9)
    files.write("system/mine.j2", "old")
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine, system="mine") as runtime:
        await runtime.session("s").ask("hi")
        files.write("system/mine.j2", "new text")
        await runtime.session("s").ask("hi")
    assert systems(engine) == ["old", "old"]


class Held(Templates):
    """Templates whose files take their time."""

    looks = 0

    def __init__(self, folder: Path) -> None:
        super().__init__([folder])
        self.looking = threading.Event()
        self.go_on = threading.Event()

    def reload(self) -> bool:
        self.looks += 1
        self.looking.set()
        self.go_on.wait(10)
        return super().reload()


async def test_turns_that_wait_for_one_look_go_on_in_the_order_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vanta.prompts.live.INTERVAL_S", 0.0)
    templates = Held(tmp_path)
    live = LivePrompts(templates)
    monkeypatch.setattr("vanta.prompts.live.INTERVAL_S", 1e9)
    order: list[int] = []

    async def turn(number: int) -> None:
        await live.refresh()
        order.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn, 0)
        await anyio.to_thread.run_sync(templates.looking.wait, 10)
        for number in range(1, 6):
            tasks.start_soon(turn, number)
            await anyio.wait_all_tasks_blocked()
        templates.go_on.set()
    assert order == [0, 1, 2, 3, 4, 5]
    assert templates.looks == 1


@pytest.mark.usefixtures("no_blocking", "every_turn")
async def test_a_user_keeps_the_last_good_text_of_a_template_that_uses_its_name(
    tmp_path: Path, files: Files
) -> None:
    """The prompt of no other user is needed for a turn."""
    files.write("system/mine.j2", "{% if user == 'ada' %}good{% else %}{{ 1 / 0 }}{% endif %}")
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine, system="mine") as runtime:
        session = runtime.session("s", user="ada")
        await session.ask("hi")
        files.write("system/mine.j2", "bad\n{% if %}")
        await session.ask("hi")
    assert systems(engine) == ["good", "good"]
