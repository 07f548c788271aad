"""The synchronous facade."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.errors import AllTracksFailed, ErrorKind
from vanta.events import TextDelta
from vanta.testing import Fail, Hang, Say, ScriptedEngine, scripted_plugin


def test_ask_and_history(tmp_path: Path) -> None:
    with open_scripted(tmp_path, local=ScriptedEngine("hello")) as runtime:
        session = runtime.session("ada")
        assert session.ask("hi").text == "hello"
        assert [message.content for message in session.history()] == ["hi", "hello"]
        assert session.clear() == 2


def test_stream(tmp_path: Path) -> None:
    with (
        open_scripted(tmp_path, local=ScriptedEngine("a b")) as runtime,
        runtime.session("ada").stream("hi") as turn,
    ):
        text = "".join(event.text for event in turn if isinstance(event, TextDelta))
        assert text == turn.reply.text == "a b"


def test_leaving_a_stream_early_stops_the_engine(tmp_path: Path) -> None:
    engine = ScriptedEngine(Say("half"), Hang())
    with open_scripted(tmp_path, local=engine) as runtime:
        with runtime.session("ada").stream("hi") as turn:
            for event in turn:
                if isinstance(event, TextDelta):
                    break
        assert engine.streaming == 0


def test_ctrl_c_in_the_body_of_a_stream_comes_out_as_itself(tmp_path: Path) -> None:
    engine = ScriptedEngine(Say("half"), Hang())
    with open_scripted(tmp_path, local=engine) as runtime:
        streaming = runtime.session("ada").stream("hi")
        next(iter(streaming.__enter__()))
        interrupt = KeyboardInterrupt()
        assert not streaming.__exit__(KeyboardInterrupt, interrupt, None)
        assert engine.streaming == 0


def test_errors_come_out_as_themselves(tmp_path: Path) -> None:
    with (
        open_scripted(tmp_path, local=ScriptedEngine(Fail(ErrorKind.AUTH))) as runtime,
        pytest.raises(AllTracksFailed),
    ):
        runtime.session("ada").ask("hi")


def test_no_thread_is_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        runtime.warm_up()
        runtime.session("ada").ask("hi")
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before


def test_one_question_one_reply(tmp_path: Path) -> None:
    config = {"tracks": {"local": {"engine": "scripted", "model": "m"}}, "policy": "local"}
    plugins = [scripted_plugin(local=ScriptedEngine("x"))]
    assert vanta.ask("hi", config=config, plugins=plugins, data_dir=tmp_path).text == "x"
