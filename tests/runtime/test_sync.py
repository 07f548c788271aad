"""The synchronous facade."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.events import Event, TextDelta, TurnFinished
from vanta.memory import Memory, NewItem, Question, Scope, Selection
from vanta.money import Ledger
from vanta.runtime import (
    Runtime,
    Session,
    SyncLearnt,
    SyncLedger,
    SyncMemory,
    SyncRuntime,
    SyncSession,
    SyncTurn,
    TurnStream,
)
from vanta.runtime.learnt_facts import LearntFacts
from vanta.testing import Fail, Hang, Say, ScriptedEngine, scripted_plugin


def test_ask_stores_the_exchange_in_the_history(tmp_path: Path) -> None:
    with open_scripted(tmp_path, local=ScriptedEngine("hello")) as runtime:
        session = runtime.session("ada")
        assert session.ask("hi").text == "hello"
        assert [message.content for message in session.history()] == ["hi", "hello"]
        assert session.clear() == 2


def test_stream_yields_the_text(tmp_path: Path) -> None:
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


PAIRS = [
    (SyncRuntime, Runtime),
    (SyncSession, Session),
    (SyncTurn, TurnStream),
    (SyncMemory, Memory),
    (SyncLedger, Ledger),
    (SyncLearnt, LearntFacts),
]

ONLY_ASYNCHRONOUS = {
    # The context closes the runtime; companions use `idle`, `journal` and `store`, scripts
    # `toolsets`.
    SyncRuntime: {"aclose", "create_embedder", "idle", "journal", "store", "toolsets"},
    SyncSession: set(),
    SyncTurn: set(),
    SyncLearnt: {"publish"},
}


def public(owner: type) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "asynchronous"), PAIRS, ids=lambda owner: owner.__name__)
def test_the_facade_has_the_parameters_of_the_asynchronous_class(
    sync: type, asynchronous: type
) -> None:
    for name in public(sync) & public(asynchronous):
        method, model = getattr(sync, name), getattr(asynchronous, name)
        if callable(method):
            assert parameters(method) == parameters(model), name
        else:
            assert isinstance(model, property), name


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


@pytest.mark.parametrize("sync", ONLY_ASYNCHRONOUS, ids=lambda owner: owner.__name__)
def test_the_facade_leaves_nothing_out_but_what_only_asynchronous_code_uses(sync: type) -> None:
    (asynchronous,) = (model for facade, model in PAIRS if facade is sync)
    assert public(asynchronous) - public(sync) == ONLY_ASYNCHRONOUS[sync]


def test_what_was_learnt_can_be_read_and_forgotten_without_an_event_loop(tmp_path: Path) -> None:
    config = {"retries": 0, "policy": "local"}
    busy = EngineError(ErrorKind.RATE_LIMITED, "busy", engine="scripted", retry_after_s=200.0)
    local = ScriptedEngine(Fail(busy))
    with open_scripted(tmp_path, local=local, config=config) as runtime:
        with pytest.raises(AllTracksFailed):
            runtime.session("one").ask("hello")
        assert {fact.track for fact in runtime.learnt.facts()} == {"local"}
        runtime.learnt.forget("local")
        assert runtime.learnt.facts() == []


def test_events_are_observed_without_an_event_loop(tmp_path: Path) -> None:
    seen: list[Event] = []
    with open_scripted(tmp_path, local=ScriptedEngine("ok"), policy="local") as runtime:
        with runtime.observing(seen.append):
            runtime.session("one").ask("hello")
        runtime.session("one").ask("hello again")
    assert [type(event) for event in seen].count(TurnFinished) == 1


def test_memory_ledger_and_templates_are_there_without_an_event_loop(tmp_path: Path) -> None:
    config = {"memory": {"embedder": "none"}}
    with open_scripted(tmp_path, local=ScriptedEngine("ok"), config=config) as runtime:
        runtime.session("one").ask("My dog is called Biscuit.")
        assert runtime.memory is not None
        (added,) = runtime.memory.add([NewItem("default", "fact", "The cat is called Tom.", 0.0)])
        scope = Scope("default")
        found = runtime.memory.recall(Question("What is the cat called?", scope)).items
        assert added in [match.item.id for match in found]
        assert added in [item.id for item in runtime.memory.export("default")]
        assert runtime.memory.forget(Selection("default", ids=(added,))).removed.items == 1
        assert runtime.memory.newest(scope, limit=1)[0].role == "assistant"
        assert runtime.memory.stats()["items"] == 2
        assert runtime.ledger.spending().total.legs == 0
        assert "system/default" in runtime.templates.list()
        assert runtime.turns == 1


def test_a_session_may_have_a_system_prompt_of_its_own(tmp_path: Path) -> None:
    engine = ScriptedEngine("x")
    with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada", system="short", private=True)
        session.ask("hi", options=vanta.TurnOptions(track="local"))
        expected = runtime.templates.render("system/short", {"user": "default"})
    assert session.private
    assert engine.requests[0].messages[0].content == expected
