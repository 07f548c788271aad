"""Checks of what answers: each can pass and can fail, and none shows a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.diagnosis.conftest import MakeContext
from tests.models.wheels import gguf_like
from vanta import hookimpl
from vanta.diagnosis import tracks
from vanta.engine import Engine, EngineContext, EngineFactory
from vanta.models import ModelEntry

pytestmark = pytest.mark.anyio

SECRET = "sk-very-secret"


def local(model: str) -> dict[str, Any]:
    return {"local": {"engine": "llamacpp", "model": model}}


def api(**options: Any) -> dict[str, Any]:
    return {"api": {"engine": "openai", "model": "m", "options": options}}


def factory(requires: str | None, extra: str | None = None) -> EngineFactory:
    def create(_options: Any, _context: EngineContext) -> Engine:
        raise NotImplementedError

    return EngineFactory("odd", "an engine", BaseModel, create, requires=requires, extra=extra)


@hookimpl
def vanta_engines() -> list[EngineFactory]:
    raise RuntimeError("broken on purpose")


@hookimpl
def vanta_templates() -> list[Path]:
    return []


async def test_plugins_that_failed_are_named_with_their_reason(context: MakeContext) -> None:
    good = await tracks.plugins(context(hooks={"vanta_templates": vanta_templates}))
    assert (good.ok, good.detail) == (True, "on: 'stranger'")
    bad = await tracks.plugins(context(hooks={"vanta_engines": vanta_engines}))
    assert bad.ok is False
    assert "'stranger'" in bad.detail
    assert "broken on purpose" in bad.detail
    assert bad.mend == "vanta plugins list"


async def test_one_track_that_is_on_is_enough(context: MakeContext) -> None:
    both = {**local("tiny"), **api()}
    one_off = await tracks.tracks(context(tracks=both, off={"api": "no key"}))
    assert one_off.ok is True
    assert one_off.detail == "on: 'local'; 'api' is off: no key"
    none = await tracks.tracks(context(tracks=local("tiny"), off={"local": "broken"}))
    assert none.ok is False
    assert none.mend == "vanta config show"


@pytest.mark.parametrize(
    ("requires", "extra", "ok", "mend"),
    [
        ("anyio", None, True, ""),
        (None, None, True, ""),
        ("no_such_library", None, False, "pip install no_such_library"),
        ("no_such_library", "odd", False, "pip install 'vanta[odd]'"),
        ("no_such.library", "vanta-odd[x]", False, "pip install 'vanta-odd[x]'"),
    ],
)
async def test_an_engines_library_is_looked_for(
    context: MakeContext, requires: str | None, extra: str | None, ok: bool, mend: str
) -> None:
    check = tracks.library_check(factory(requires, extra))
    found = await check.run(context())
    assert (found.check, found.ok, found.mend) == ("engine odd", ok, mend)


async def test_a_library_is_named_with_its_version(context: MakeContext) -> None:
    import anyio  # noqa: F401

    found = await tracks.library_check(factory("anyio")).run(context())
    assert "(anyio 4." in found.detail


async def test_a_model_that_is_here_passes(context: MakeContext, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_like(2_000_000))
    found = await tracks.model_check("local").run(context(tracks=local(str(path))))
    assert found.ok is True
    assert "2.0 MB" in found.detail


async def test_a_model_that_is_missing_damaged_or_unknown_fails(
    context: MakeContext, tmp_path: Path
) -> None:
    check = tracks.model_check("local")
    entry = ModelEntry(id="tiny", source="wheel:tiny-model==1.0#tiny_model/t.gguf", size_bytes=100)
    made = context(tracks=local("tiny"), entries=(entry,))
    missing = await check.run(made)
    assert (missing.ok, missing.mend) == (False, "vanta models pull tiny")
    made.models.root.mkdir(parents=True)
    (made.models.root / "tiny.gguf").write_bytes(gguf_like(50))
    damaged = await check.run(made)
    assert (damaged.ok, damaged.mend) == (False, "vanta models pull tiny")
    assert "50 bytes" in damaged.detail
    unknown = await check.run(context(tracks=local("tinny"), entries=(entry,)))
    assert (unknown.ok, unknown.mend) == (False, "vanta models list")
    nowhere = await check.run(context(tracks=local(str(tmp_path / "no.gguf"))))
    assert (nowhere.ok, nowhere.mend) == (False, "")


async def access(made: Any) -> Any:
    found = await tracks.access_check("api").run(made)
    assert SECRET not in repr(found)
    return found


async def test_a_key_in_the_environment_is_named_and_not_shown(context: MakeContext) -> None:
    found = await access(context(tracks=api(), environ={"OPENAI_API_KEY": SECRET}))
    assert found.ok is True
    assert "'OPENAI_API_KEY' (not shown), for https://api.openai.com/v1" in found.detail
    own = await access(context(tracks=api(api_key_env="MY_KEY"), environ={"MY_KEY": SECRET}))
    assert "'MY_KEY'" in own.detail


async def test_without_key_and_server_the_track_is_optional(context: MakeContext) -> None:
    found = await access(context(tracks=api(), environ={"OPENAI_API_KEY": " "}))
    assert (found.ok, found.mend) == (None, "export OPENAI_API_KEY=YOUR_KEY")


@pytest.mark.parametrize("where", ["option", "environment"])
async def test_a_server_of_ones_own_needs_no_key(context: MakeContext, where: str) -> None:
    url = f"http://ada:{SECRET}@127.0.0.1:8080/v1?token={SECRET}"
    options = {"base_url": url} if where == "option" else {}
    environ = {"OPENAI_BASE_URL": url} if where == "environment" else {}
    found = await access(context(tracks=api(**options), environ=environ))
    assert found.ok is True
    assert "http://127.0.0.1:8080/v1, without a key" in found.detail


async def test_a_url_that_is_none_is_not_repeated(context: MakeContext) -> None:
    url = f"http://[{SECRET}"
    found = await access(context(tracks=api(base_url=url), environ={}))
    assert "cannot be read" in found.detail


async def test_a_key_file_has_to_hold_something(context: MakeContext, tmp_path: Path) -> None:
    file = tmp_path / "key"
    made = context(tracks=api(api_key_file=str(file)), environ={"OPENAI_API_KEY": SECRET})
    missing = await access(made)
    assert missing.ok is False
    assert str(file) in missing.mend
    file.write_text("\n")
    assert (await access(made)).ok is False
    file.write_text(SECRET)
    good = await access(made)
    assert (good.ok, "(not shown)" in good.detail) == (True, True)


async def test_a_track_that_is_not_enabled_is_not_looked_at(context: MakeContext) -> None:
    off = {"a": {"engine": "openai", "model": "m", "enabled": False}, **local("tiny")}
    made = context(tracks=off)
    assert tracks.api_tracks(made) == []
    assert tracks.local_tracks(made) == ["local"]
