"""The options of a turn, the overrides of `open`, and what a turn leaves behind as typed data."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from pydantic import BaseModel

import vanta
from tests.runtime.home import open_scripted
from vanta.config import Config
from vanta.engine import EngineFactory, Sampling
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.events import Event
from vanta.memory import Selection
from vanta.runtime import Isolation, TurnOptions
from vanta.storage import Store, sqlite_url
from vanta.testing import Fail, ScriptedEngine
from vanta.trace import Reply, Trace

pytestmark = pytest.mark.anyio


def test_keywords_take_precedence_over_an_options_object() -> None:
    base = TurnOptions(track="api", deadline_s=5.0, private=True)
    assert TurnOptions().over(base) == base
    assert TurnOptions(deadline_s=1.0, private=False).over(base) == TurnOptions(
        track="api", deadline_s=1.0, private=False
    )
    assert TurnOptions(policy="race").over(base).track is None


async def test_a_turn_takes_its_options_as_one_object_too(tmp_path: Path) -> None:
    local, api = ScriptedEngine("l"), ScriptedEngine("a")
    options = TurnOptions(track="api", sampling=Sampling(temperature=0.0), deadline_s=7.0)
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        session = runtime.session("ada")
        asked = await session.ask("hi", options=options)
        async with session.stream("hi", options=options, deadline_s=9.0) as turn:
            assert [event async for event in turn]
    assert (asked.track, asked.trace.deadline_s) == ("api", 7.0)
    assert (turn.reply.track, turn.reply.trace.deadline_s) == ("api", 9.0)
    assert [request.sampling.temperature for request in api.requests] == [0.0, 0.0]


class OwnModels:
    """A plugin with an engine that loads model files, as llama.cpp does, and one that does not."""

    name = "own-models"

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine

    @vanta.hookimpl
    def vanta_engines(self) -> list[EngineFactory]:
        return [
            EngineFactory(
                name=name,
                summary="a scripted engine",
                options=NoOptions,
                create=lambda _options, _context: self._engine,
                loads_models=name == "in-process",
            )
            for name in ("in-process", "on-a-server")
        ]


class NoOptions(BaseModel):
    """No options."""


async def sampled(
    tmp_path: Path, engine: str, sampling: dict[str, float], **call: float
) -> Sampling:
    """Return the sampling of the request of a turn."""
    scripted = ScriptedEngine("ok")
    track = {"engine": engine, "model": "smollm2-135m-instruct", "sampling": sampling}
    config = {"tracks": {"local": track, "api": {"enabled": False}}, "data_dir": str(tmp_path)}
    opening = vanta.open(config, plugins=[OwnModels(scripted)], policy="local")
    async with opening as runtime:
        await runtime.session("ada").ask("hi", sampling=Sampling(**call))  # type: ignore[arg-type]
    return scripted.requests[-1].sampling


async def test_a_track_samples_as_its_model_recommends(tmp_path: Path) -> None:
    assert await sampled(tmp_path, "in-process", {}) == Sampling(temperature=0.2, top_p=0.9)


async def test_configuration_and_call_override_what_a_model_recommends(tmp_path: Path) -> None:
    configured = await sampled(tmp_path, "in-process", {"temperature": 0.7})
    assert configured == Sampling(temperature=0.7, top_p=0.9)
    called = await sampled(tmp_path, "in-process", {"temperature": 0.7}, temperature=0.0, top_p=1.0)
    assert called == Sampling(temperature=0.0, top_p=1.0)


async def test_a_server_is_sent_only_what_is_configured(tmp_path: Path) -> None:
    assert await sampled(tmp_path, "on-a-server", {}) == Sampling()
    assert await sampled(tmp_path, "on-a-server", {"top_p": 0.5}) == Sampling(top_p=0.5)


def test_the_overrides_of_open_are_the_keys_of_the_configuration() -> None:
    typed = vanta.Overrides.__annotations__
    assert set(typed) == set(Config.model_fields) - {"plugins"}  # `plugins` takes objects


class SlowTemplates:
    """Holds the look at the template files until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looking, self.released = threading.Event(), threading.Event()
        monkeypatch.setattr("vanta.prompts.live.INTERVAL_S", 0.0)
        monkeypatch.setattr("vanta.prompts.templates.Templates.reload", self._reload)

    def _reload(self) -> bool:
        self.looking.set()
        return not self.released.wait(30)


async def test_a_slow_look_at_the_templates_counts_towards_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine("x")
    slow = SlowTemplates(monkeypatch)
    events: list[Event] = []
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("ada")
        try:
            with anyio.fail_after(20):
                async with session.stream("hi", deadline_s=1.0) as turn:
                    with pytest.raises(AllTracksFailed, match="deadline"):
                        events.extend([event async for event in turn])
        finally:
            slow.released.set()
        assert slow.looking.is_set()
        assert (await session.ask("again", deadline_s=30)).text == "x"
    assert len(engine.runs) == 1


async def test_the_trace_of_a_turn_that_waited_for_its_templates_has_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowTemplates(monkeypatch)
    replies: list[Reply] = []
    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:

        async def ask() -> None:
            replies.append(await runtime.session("ada").ask("hi"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(slow.looking.wait)
            waited_from = anyio.current_time()
            await anyio.sleep(0.05)
            waited_s = anyio.current_time() - waited_from
            slow.released.set()
    assert replies[0].timings.duration_s >= waited_s
    assert (replies[0].timings.first_content_s or 0.0) >= waited_s


async def test_a_trace_is_restored_from_its_json(tmp_path: Path) -> None:
    local, api = ScriptedEngine(Fail(ErrorKind.AUTH)), ScriptedEngine("ok")
    config = {"memory": {"embedder": "none"}, "tracks": {"api": {"window": 4000}}}
    async with open_scripted(tmp_path, local=local, api=api, config=config) as runtime:
        await runtime.session("one").ask("My dog is called Biscuit.", policy="api")
        reply = await runtime.session("two").ask("What is my dog called?", policy="prefer")
        (record,) = await runtime.store.records(user="default", session="two", limit=1)
    assert Trace.from_dict(record["trace"]) == reply.trace
    assert json.loads(json.dumps(reply.trace.to_dict())) == record["trace"]
    context = record["trace"]["context"]["api"]
    assert context["window"] == 4000
    assert context["memories"][0].keys() == {"id", "score", "tokens"}
    assert not context.keys() & {"refused", "memory_skipped"}
    assert reply.trace.recall is not None
    assert context["memories"][0]["id"] in dict(reply.trace.recall.found)


def test_a_trace_of_a_newer_version_is_read_without_what_is_new() -> None:
    stored = {
        "turn_id": "t",
        "session_id": "s",
        "policy": "race",
        "private": False,
        "deadline_s": 60.0,
        "duration_s": 1.0,
        "status": "failed",
        "skipped": {},
        "context": {"local": {"tokens": 7, "memories": [], "new": 1}},
        "legs": [],
        "new": True,
    }
    trace = Trace.from_dict(stored)
    assert trace.context["local"].tokens == 7
    assert trace.recall is None


async def test_the_causes_of_a_failed_turn_are_a_group(tmp_path: Path) -> None:
    local, api = ScriptedEngine(Fail(ErrorKind.AUTH)), ScriptedEngine(Fail(ErrorKind.AUTH))
    groups: list[BaseExceptionGroup[EngineError]] = []
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        with pytest.raises(AllTracksFailed) as failed:
            await runtime.session("ada").ask("hi", policy="prefer")
        try:
            await runtime.session("ada").ask("hi", policy="prefer")
        except* EngineError as group:
            groups.append(group)
    causes = failed.value.causes
    assert [cause.track for cause in causes] == ["api", "local"]
    assert {cause.kind for cause in causes} == {ErrorKind.AUTH}
    assert failed.value.partial == ""
    assert len(groups[0].exceptions) == 2


async def test_an_isolated_session_has_tracks_and_a_store_of_its_own(tmp_path: Path) -> None:
    engine, other = ScriptedEngine("mine"), ScriptedEngine("other")
    config = {"memory": {"embedder": "none"}}
    async with open_scripted(tmp_path, local=engine, config=config) as runtime:
        await runtime.session("one").ask("My dog is called Biscuit.")
        store = await anyio.to_thread.run_sync(lambda: Store.open(sqlite_url(tmp_path / "apart")))
        try:
            track = vanta.Track("guest", other)
            isolation = Isolation(tracks={"guest": track}, store=store)
            session = runtime.session("two", isolation=isolation)
            reply = await session.ask("What is my dog called?", track="guest")
            history = await session.history()
            assert await runtime.store.history("default", "two") == []
        finally:
            await store.aclose()
        assert runtime.memory is not None
        await runtime.memory.forget(Selection("default", everything=True))
    assert (reply.text, reply.track) == ("other", "guest")
    assert reply.trace.recall is None
    assert [message.content for message in history] == ["What is my dog called?", "other"]
