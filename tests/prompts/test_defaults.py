"""What a template says of its turns holds where neither the call nor the session says otherwise."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.runtime.home import open_scripted
from tests.trusted import trust
from vanta.config import SamplingConfig, load
from vanta.engine import Sampling
from vanta.errors import TemplateError
from vanta.plugin_loading import load as load_plugins
from vanta.prompts.front_matter import SAMPLING, parse_template
from vanta.runtime import prompt_templates
from vanta.testing import ScriptedEngine
from vanta_scripts import parse_script, run_script

pytestmark = pytest.mark.anyio


def write(folder: Path, front_matter: str, name: str = "mine") -> Path:
    path = folder / "templates" / "system" / f"{name}.j2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\n{front_matter}\n---\nI am {name}.", encoding="utf-8")
    return path


def engines() -> dict[str, Any]:
    return {name: ScriptedEngine(name) for name in ("local", "api")}


async def test_the_track_of_the_template_answers_unless_the_call_names_another_way(
    tmp_path: Path,
) -> None:
    write(tmp_path, "track: api")
    async with open_scripted(tmp_path, policy="local", system="mine", **engines()) as runtime:
        session = runtime.session("s")
        assert (await session.ask("hi")).track == "api"
        assert (await session.ask("hi", track="local")).track == "local"
        assert (await session.ask("hi", policy="local")).track == "local"
        assert runtime.usual_policy().name == "track api"


async def test_the_policy_of_the_template_goes_before_the_configured_one(tmp_path: Path) -> None:
    write(tmp_path, "policy: api")
    async with open_scripted(tmp_path, policy="local", system="mine", **engines()) as runtime:
        reply = await runtime.session("s").ask("hi")
        assert (reply.track, reply.trace.policy) == ("api", "api")
        assert (await runtime.session("s").ask("hi", track="local")).track == "local"


async def test_a_session_s_own_template_goes_before_the_configured_one(tmp_path: Path) -> None:
    write(tmp_path, "track: api\nsampling: {temperature: 0.25}")
    write(tmp_path, "track: local\nsampling: {temperature: 0.75}", "other")
    both = engines()
    async with open_scripted(tmp_path, system="mine", **both) as runtime:
        assert (await runtime.session("a").ask("hi")).track == "api"
        assert (await runtime.session("b", system="other").ask("hi")).track == "local"
    assert both["api"].requests[0].sampling.temperature == 0.25
    assert both["local"].requests[0].sampling.temperature == 0.75


async def test_sampling_is_the_call_s_then_the_template_s_then_the_track_s(tmp_path: Path) -> None:
    write(tmp_path, "sampling: {temperature: 0.25, max_tokens: 5, stop: [END]}")
    engine = ScriptedEngine("x")
    own = {"temperature": 0.5, "max_tokens": 7, "top_p": 0.5}
    tables: dict[str, Any] = {"tracks": {"local": {"sampling": own}}}
    async with open_scripted(tmp_path, local=engine, config=tables, system="mine") as runtime:
        await runtime.session("s").ask("hi", sampling=Sampling(temperature=0.0))
        await runtime.session("s").ask("hi")
    first, second = (request.sampling for request in engine.requests)
    assert first == Sampling(temperature=0.0, max_tokens=5, top_p=0.5, stop=("END",))
    assert second == Sampling(temperature=0.25, max_tokens=5, top_p=0.5, stop=("END",))


async def test_a_script_s_own_template_decides_too(tmp_path: Path) -> None:
    write(tmp_path, "track: api\nsampling: {seed: 7}")
    both = engines()
    script = parse_script("name: s\nsystem: mine\nturns:\n- say: hi\n")
    async with open_scripted(tmp_path, policy="local", **both) as runtime:
        (result,) = (await run_script(runtime, script)).turns
    assert result.reply
    assert (result.reply.track, both["api"].requests[0].sampling.seed) == ("api", 7)


async def test_a_track_that_does_not_exist_is_told_with_the_template_s_line(tmp_path: Path) -> None:
    path = write(tmp_path, "description: x\ntrack: lcoal")
    async with open_scripted(tmp_path, local=ScriptedEngine("x"), system="mine") as runtime:
        with pytest.raises(TemplateError) as caught:
            await runtime.session("s").ask("hi")
    assert str(caught.value).startswith(f"{path}:3: no track is named 'lcoal'. Did you mean 'local")


@pytest.mark.parametrize("name", sorted(SAMPLING))
def test_a_template_s_sampling_takes_what_the_configuration_takes(name: str) -> None:
    for value in (-3, -2, -1, 0, 0.5, 1, 1.5, 2, 3, "'x'", "[x]", "{}", "true", "null", "['']"):
        text = f"---\nsampling: {{{name}: {value}}}\n---\n"
        try:
            parsed = parse_template("a", Path("a.j2"), text)
        except TemplateError:
            parsed = None
        assert (parsed is not None) == _configurable(name, value), value


def _configurable(name: str, value: object) -> bool:
    from vanta.text import read_marked

    plain = read_marked(str(value)).value
    if plain is None:
        return False  # a template says nothing by leaving the line out
    try:
        SamplingConfig.model_validate({name: plain})
    except ValidationError:
        return False
    return True


def test_yours_go_before_the_project_s_and_both_before_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("vanta"), "propagate", True)
    project = tmp_path / "project"
    for folder, names in (
        (tmp_path / "data" / "templates", ["short"]),
        (project / ".vanta" / "templates", ["short", "team"]),
    ):
        for name in names:
            (folder / "system").mkdir(parents=True, exist_ok=True)
            (folder / "system" / f"{name}.j2").write_text(f"{name} of {folder.parent.name}")
    trust(project)
    monkeypatch.chdir(project)
    monkeypatch.setenv("VANTA_DATA_DIR", str(tmp_path / "data"))
    with caplog.at_level(logging.INFO, logger="vanta"):
        prompt_templates(load(), load_plugins([], strict=False))
        templates = prompt_templates(load(), load_plugins([], strict=False))
    assert templates.render("system/short") == "short of data"
    assert templates.render("system/team") == "team of .vanta"
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.startswith("template 'system/short' of ")
    assert str(project) in message


def test_the_project_is_where_its_configuration_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VANTA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "my.toml").write_text("")
    assert load().project == tmp_path
    assert load("offline").project == tmp_path
    assert load("elsewhere/my.toml").project == tmp_path / "elsewhere"
    assert load(environ={"VANTA_CONFIG": "elsewhere/my.toml"}).project == tmp_path / "elsewhere"
    assert load({}).project is None
