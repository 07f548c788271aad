"""Rule 6: a private turn never reaches a track that is not private, now or later."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

import vanta
from tests.runtime.home import open_scripted
from vanta.config import user_file
from vanta.errors import AllTracksFailed, ErrorKind, NoTrack, UnknownName
from vanta.testing import Fail, Say, ScriptedEngine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("policy", ["race", "hedge", "cascade", "prefer"])
async def test_no_policy_sends_a_private_turn_to_the_api(tmp_path: Path, policy: str) -> None:
    api = ScriptedEngine("seen")
    local = ScriptedEngine("I'm sorry, I cannot help")
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        reply = await runtime.session("ada").ask("secret", private=True, policy=policy)
    assert reply.track == "local"
    assert api.runs == []
    assert "private" in reply.trace.skipped["api"]


async def test_a_private_turn_that_breaks_is_not_taken_over_by_the_api(tmp_path: Path) -> None:
    local = ScriptedEngine(Say("half"), Fail(ErrorKind.SERVER))
    api = ScriptedEngine("seen")
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        with pytest.raises(AllTracksFailed):
            await runtime.session("ada", private=True).ask("secret")
    assert api.runs == []


async def test_a_private_turn_without_a_private_track_is_refused(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, api=ScriptedEngine("seen")) as runtime:
        with pytest.raises(NoTrack, match="private"):
            await runtime.session("ada").ask("secret", private=True)


async def test_private_text_is_not_in_a_later_request_to_the_api(
    tmp_path: Path,
) -> None:
    local, api = ScriptedEngine("between us"), ScriptedEngine("hello")
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        session = runtime.session("ada")
        await session.ask("the code is 1234", private=True)
        await session.ask("and now?", policy="api")
        await session.ask("and here?", policy="local")
    to_api = " ".join(message.content for message in api.requests[0].messages)
    to_local = " ".join(message.content for message in local.requests[-1].messages)
    assert "1234" not in to_api
    assert "between us" not in to_api
    assert "1234" in to_local


async def test_private_text_stays_private_after_a_restart(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("ok")) as runtime:
        await runtime.session("ada").ask("the code is 1234", private=True)
    api = ScriptedEngine("hello")
    async with open_scripted(tmp_path, api=api) as runtime:
        await runtime.session("ada").ask("and now?")
    assert all("1234" not in message.content for message in api.requests[0].messages)


async def test_a_detector_that_the_configuration_names_makes_a_turn_private(tmp_path: Path) -> None:
    local, api = ScriptedEngine("safe"), ScriptedEngine("seen")
    config = {"privacy": {"detect": ["email", "card"]}}
    async with open_scripted(tmp_path, local=local, api=api, config=config) as runtime:
        session = runtime.session("ada")
        reply = await session.ask("write to ada@example.org", policy="prefer")
        plain = await session.ask("write to Ada", policy="api")
    assert (reply.track, reply.trace.private) == ("local", True)
    assert reply.trace.private_because == "the message has an e-mail address (detector 'email')"
    assert (plain.track, plain.trace.private) == ("api", False)
    assert all("example.org" not in m.content for r in api.requests for m in r.messages)


async def test_detectors_are_off_by_default(tmp_path: Path) -> None:
    api = ScriptedEngine("seen")
    async with open_scripted(tmp_path, api=api) as runtime:
        assert (await runtime.session("ada").ask("write to ada@example.org")).track == "api"


async def test_an_unknown_detector_is_an_error_with_the_nearest_name(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnknownName, match="'email'"):
        async with open_scripted(
            tmp_path, local=ScriptedEngine("x"), config={"privacy": {"detect": ["emial"]}}
        ):
            pass


async def test_an_unknown_detector_of_a_strangers_folder_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vanta.toml").write_text("privacy.detect = ['theirs', 'email']\n")
    user = user_file()
    user.parent.mkdir(parents=True)
    user.write_text("policy = 'api'\n[tracks.local]\nenabled = false\n")
    async with vanta.open(data_dir=tmp_path) as runtime:
        assert runtime.config.privacy.detect == ["theirs", "email"]
    user.write_text("policy = 'api'\nprivacy.detect = ['mine']\n")
    with pytest.raises(UnknownName, match="'mine'"):
        async with vanta.open(data_dir=tmp_path):
            pass


class _NoOptions(BaseModel):
    """The engine has no options."""


class _Factories:
    """A plugin whose engine `told` keeps what its factory is given."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}

    @vanta.hookimpl
    def vanta_engines(self) -> tuple[vanta.EngineFactory, ...]:
        return (vanta.EngineFactory("told", "keeps its context", _NoOptions, self._create),)

    def _create(self, _options: BaseModel, context: vanta.EngineContext) -> vanta.Engine:
        self.private[context.track] = context.private
        return ScriptedEngine("hi")


async def test_an_engine_is_created_knowing_whether_its_track_is_private(tmp_path: Path) -> None:
    factories = _Factories()
    told = {"engine": "told", "model": "m"}
    tracks = {"local": {**told, "private": True}, "api": told}
    config = {"data_dir": str(tmp_path), "tracks": tracks}
    async with vanta.open(config, plugins=[factories]) as runtime:
        assert (await runtime.session("s").ask("hi", policy="local")).text == "hi"
    assert factories.private == {"local": True, "api": False}
