"""Opening and closing: tracks that are off, observers, and cleaning up."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.engine import Sampling
from vanta.errors import ConfigError, EngineError, NoTrack, PluginError, StoreError, UnknownName
from vanta.events import Event, Observer
from vanta.scheduling import LegPlan, Policy
from vanta.testing import Hang, Say, ScriptedEngine, Wait, scripted_plugin

pytestmark = pytest.mark.anyio


class Watcher:
    """A plugin that watches; its second observer is broken."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    @vanta.hookimpl
    def vanta_observers(self, config: Mapping[str, Any]) -> Iterable[Observer]:
        return [self.seen.append, self._break]

    def _break(self, event: Event) -> None:
        raise ValueError("an observer's own bug")


async def test_observers_see_every_event_and_can_break_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    engine = ScriptedEngine("hello")
    with caplog.at_level(logging.CRITICAL, logger="vanta"):
        async with open_scripted(tmp_path, local=engine, plugins=[watcher]) as runtime:
            reply = await runtime.session("ada").ask("hi")
    assert reply.text == "hello"
    assert type(watcher.seen[0]).__name__ == "TurnStarted"
    assert type(watcher.seen[-1]).__name__ == "TurnFinished"


async def test_without_key_and_base_url_the_api_is_off_and_local_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    name = f"api-{uuid.uuid4().hex}"  # the reason is logged once per process
    both = Policy("both", "both tracks", (LegPlan(name), LegPlan("local")))
    for _ in range(2):
        engine = ScriptedEngine("still here")
        track = {"engine": "openai", "model": "m"}
        tracks = {name: track, "local": {"engine": "scripted", "model": "m"}}
        config = {"tracks": tracks, "data_dir": str(tmp_path)}
        plugins = [scripted_plugin(local=engine)]
        async with vanta.open(config, plugins=plugins, policy="local") as runtime:
            reply = await runtime.session("ada").ask("hi", policy=both)
            assert reply.text == "still here"
            assert reply.trace.skipped[name] == runtime.off[name]
            assert "OPENAI_API_KEY" in runtime.off[name]
            with pytest.raises(NoTrack, match="OPENAI_API_KEY"):
                await runtime.session("ada").ask("hi", track=name)
    assert len([record for record in caplog.records if f"{name!r} is off" in record.message]) == 1


async def test_an_engine_whose_library_is_missing_is_off_with_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    from vanta.engine import EngineFactory
    from vanta.testing import scripted_plugin

    class Needy:
        @vanta.hookimpl
        def vanta_engines(self) -> list[EngineFactory]:
            import dataclasses

            (factory,) = scripted_plugin(local=ScriptedEngine("x")).vanta_engines()
            return [dataclasses.replace(factory, name="needy", requires="no_such_lib")]

    tables = {"tracks": {"api": {"enabled": True, "engine": "needy", "model": "m"}}}
    async with open_scripted(
        tmp_path, local=ScriptedEngine("x"), plugins=[Needy()], config=tables
    ) as runtime:
        assert "pip install 'no_such_lib'" in runtime.off["api"]


async def test_an_engine_that_no_plugin_provides_is_an_error_that_names_the_nearest(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnknownName, match="'scripted'"):
        async with open_scripted(
            tmp_path,
            local=ScriptedEngine("x"),
            config={"tracks": {"local": {"engine": "scriptd"}}},
        ):
            pass


async def test_options_that_an_engine_does_not_know_are_an_error_naming_the_key(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"tracks\.api\.options\.bas_url"):
        async with open_scripted(
            tmp_path,
            local=ScriptedEngine("x"),
            config={
                "tracks": {
                    "api": {
                        "enabled": True,
                        "engine": "openai",
                        "model": "m",
                        "options": {"bas_url": "http://127.0.0.1:9"},
                    }
                }
            },
        ):
            pass


async def test_the_configured_policy_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'race'"):
        async with open_scripted(tmp_path, local=ScriptedEngine("x"), policy="rce"):
            pass


async def test_the_configured_system_template_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'system/short'"):
        async with open_scripted(tmp_path, local=ScriptedEngine("x"), system="shrt"):
            pass


async def test_a_plugin_may_not_replace_a_model_that_vanta_has(tmp_path: Path) -> None:
    from vanta.models import ModelEntry

    class Usurper:
        @vanta.hookimpl
        def vanta_models(self) -> list[ModelEntry]:
            return [ModelEntry("smollm2-135m-instruct", "file:/elsewhere.gguf")]

    with pytest.raises(PluginError, match="'smollm2-135m-instruct'"):
        async with open_scripted(tmp_path, local=ScriptedEngine("x"), plugins=[Usurper()]):
            pass


async def test_a_variant_of_a_policy_is_used_by_its_name(tmp_path: Path) -> None:
    tables = {"policies": {"eager": {"base": "hedge", "delay_s": 0.01}}}
    local, api = ScriptedEngine(Hang()), ScriptedEngine("a")
    async with open_scripted(tmp_path, config=tables, local=local, api=api) as runtime:
        reply = await runtime.session("ada").ask("hi", policy="eager")
    assert (reply.track, reply.trace.policy) == ("api", "eager")


async def test_the_deadline_and_stall_timeout_of_the_configuration_hold(tmp_path: Path) -> None:
    slow = ScriptedEngine(Say("half"), Hang())
    async with open_scripted(tmp_path, local=slow, deadline_s=1.5) as runtime:
        assert (await runtime.session("ada").ask("hi")).finish_reason == "deadline"
    other = ScriptedEngine(Say("half"), Hang())
    async with open_scripted(tmp_path, local=other, stall_timeout_s=0.15) as runtime:
        with pytest.raises(vanta.AllTracksFailed, match=r"silent for 0\.15 s"):
            await runtime.session("ada").ask("hi")


async def test_the_sampling_of_a_call_takes_precedence_over_the_track_s(tmp_path: Path) -> None:
    engine = ScriptedEngine("x")
    tables = {"tracks": {"local": {"sampling": {"temperature": 0.5, "max_tokens": 7}}}}
    async with open_scripted(tmp_path, local=engine, config=tables) as runtime:
        await runtime.session("ada").ask("hi", sampling=Sampling(temperature=0.0))
    sampling = engine.requests[0].sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 7)


async def test_the_system_prompt_is_the_configured_template(tmp_path: Path) -> None:
    own = tmp_path / "templates" / "system"
    own.mkdir(parents=True)
    (own / "pirate.j2").write_text("You serve {{ user }} on the {{ ship }}.")
    engine = ScriptedEngine("x")
    async with open_scripted(
        tmp_path, local=engine, system="pirate", variables={"ship": "Vanta"}
    ) as runtime:
        await runtime.session("log", user="ada").ask("hi")
    assert engine.requests[0].messages[0].content == "You serve ada on the Vanta."


async def test_the_cost_includes_losing_legs(tmp_path: Path) -> None:
    gate = anyio.Event()
    tables = {"tracks": {"api": {"output_usd_per_mtok": 1_000_000.0}}}
    api = ScriptedEngine(Wait(gate), "never shown", tokens_after_stop=2)
    async with open_scripted(
        tmp_path, local=ScriptedEngine("free"), api=api, config=tables
    ) as runtime:
        reply = await runtime.session("ada").ask("hi")
    assert reply.track == "local"
    assert reply.cost_usd == pytest.approx(2.0)


def own_threads() -> set[threading.Thread]:
    """All threads but the idle workers of anyio and trio, which end with the event loop."""
    idle = ("AnyIO worker thread", "Trio thread")
    return {thread for thread in threading.enumerate() if not thread.name.startswith(idle)}


async def test_closing_leaves_no_thread_and_no_stream(tmp_path: Path) -> None:
    before = own_threads()
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine) as runtime:
        await runtime.session("ada").ask("hi")
    assert own_threads() <= before
    with pytest.raises(EngineError):
        async with engine.stream(engine.requests[0]):
            pass


async def test_an_error_in_the_body_of_open_comes_out_as_itself(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_scripted(tmp_path, local=ScriptedEngine("x")):
            raise ZeroDivisionError


async def test_a_data_directory_that_cannot_be_written_is_an_error_with_the_next_step(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder")
    with pytest.raises(StoreError, match="VANTA_DATA_DIR"):
        async with open_scripted(blocked / "data", local=ScriptedEngine("x")):
            pass


async def test_the_portal_runs_calls_from_other_threads(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("x")) as runtime:
        session = runtime.session("ada")
        reply = await anyio.to_thread.run_sync(lambda: runtime.portal.call(session.ask, "hi"))
    assert reply.text == "x"


async def test_warm_up_loads_the_engines_ahead(tmp_path: Path) -> None:
    engine = ScriptedEngine("x")
    async with open_scripted(tmp_path, local=engine) as runtime:
        await runtime.warm_up()
        assert engine.loads == 1
        with pytest.raises(UnknownName, match="not enabled"):
            await runtime.warm_up("api")
