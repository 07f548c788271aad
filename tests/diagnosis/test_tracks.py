"""Checks of tracks and recall: each can pass and can fail, and none shows a key."""

from __future__ import annotations

import shlex
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel

from tests.diagnosis.conftest import MakeContext
from tests.models.wheels import gguf_like
from vanta import hookimpl
from vanta.config import Config
from vanta.diagnosis import tracks
from vanta.engine import Engine, EngineContext, EngineFactory
from vanta.installation import DISTRIBUTION, install_hint
from vanta.memory import EmbedderFactory, IndexFactory
from vanta.memory.search import ExactIndex
from vanta.models import ModelEntry
from vanta.plugin_loading import PluginSet, load
from vanta.testing import HashEmbedder

pytestmark = pytest.mark.anyio

SECRET = "sk-very-secret"
NOT_HERE = "model 'tiny' is not downloaded yet: run `vanta models pull tiny`"


def local(model: str) -> dict[str, Any]:
    return {"local": {"engine": "llamacpp", "model": model}}


def api(**options: Any) -> dict[str, Any]:
    return {"api": {"engine": "openai", "model": "m", "options": options}}


def factory(requires: str | None, extra: str | None = None) -> EngineFactory:
    def create(_options: Any, _context: EngineContext) -> Engine:
        raise NotImplementedError

    return EngineFactory("odd", "an engine", BaseModel, create, requires=requires, extra=extra)


class Installed:
    """An entry point of a plugin, with as much as the loader reads."""

    name = value = "installed"

    def __init__(self, hooks: dict[str, Any], distribution: str) -> None:
        self.dist = SimpleNamespace(name=distribution, version="1.0")
        self._plugin = SimpleNamespace(**hooks)

    def load(self) -> object:
        return self._plugin


def installed(hooks: dict[str, Any], distribution: str) -> PluginSet:
    """The plugins of an environment with one plugin, installed from `distribution`."""
    point = cast("EntryPoint", Installed(hooks, distribution))
    return load(allow=["installed"], entry_points=[point])


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
    assert bad.fix == "vanta plugins list"


async def test_one_track_that_is_on_is_enough(context: MakeContext) -> None:
    both = {**local("tiny"), **api()}
    one_off = await tracks.tracks(context(tracks=both, off={"api": "no key"}))
    assert one_off.ok is True
    assert one_off.detail == "on: 'local'; 'api' is off: no key"
    none = await tracks.tracks(context(tracks=local("tiny"), off={"local": "broken"}))
    assert none.ok is False
    assert none.fix == "vanta config show"


@pytest.mark.parametrize(
    ("requires", "extra", "ok", "fix"),
    [
        ("anyio", None, True, ""),
        (None, None, True, ""),
        ("no_such_library", None, False, "pip install 'no_such_library'"),
        ("no_such.library", "odd", False, "pip install 'no_such.library'"),
    ],
)
async def test_an_engines_library_is_looked_for(
    context: MakeContext, requires: str | None, extra: str | None, ok: bool, fix: str
) -> None:
    check = tracks.library_check(factory(requires, extra))
    found = await check.run(context())
    assert (found.check, found.ok, found.fix) == ("engine odd", ok, fix)


async def test_the_library_of_an_installed_plugin_is_named_with_its_extra(
    context: MakeContext,
) -> None:
    needy = factory("no_such_library", "odd")
    hooks_of_plugin = {"vanta_engines": hookimpl(lambda: [needy])}
    own = context(plugins=installed(hooks_of_plugin, DISTRIBUTION))
    assert (await tracks.library_check(needy).run(own)).fix == install_hint("odd")
    other = context(plugins=installed(hooks_of_plugin, "vanta-odd"))
    assert (await tracks.library_check(needy).run(other)).fix == "pip install 'vanta-odd[odd]'"


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
    assert (missing.ok, missing.fix) == (False, "vanta models pull tiny")
    made.models.root.mkdir(parents=True)
    (made.models.root / "tiny.gguf").write_bytes(gguf_like(50))
    damaged = await check.run(made)
    assert (damaged.ok, damaged.fix) == (False, "vanta models pull tiny")
    assert "50 bytes" in damaged.detail
    unknown = await check.run(context(tracks=local("tinny"), entries=(entry,)))
    assert (unknown.ok, unknown.fix) == (False, "vanta models list")
    nowhere = await check.run(context(tracks=local(str(tmp_path / "no.gguf"))))
    assert (nowhere.ok, nowhere.fix) == (False, "")


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
    assert (found.ok, found.fix) == (None, "export OPENAI_API_KEY=YOUR_KEY")


@pytest.mark.parametrize("where", ["option", "environment"])
async def test_a_server_of_ones_own_needs_no_key(context: MakeContext, where: str) -> None:
    url = f"http://ada:{SECRET}@127.0.0.1:8080/v1?token={SECRET}"
    options = {"base_url": url} if where == "option" else {}
    environ = {"OPENAI_BASE_URL": url} if where == "environment" else {}
    found = await access(context(tracks=api(**options), environ=environ))
    assert found.ok is True
    assert "http://***@127.0.0.1:8080/v1?token=***, without a key" in found.detail


@pytest.mark.parametrize("options", [{"api_key_env": "MINE"}, {"api_key_file": "/key"}])
async def test_a_variable_that_would_redirect_a_key_is_reported(
    context: MakeContext, options: dict[str, str]
) -> None:
    environ = {"OPENAI_BASE_URL": "http://there/v1", "MINE": SECRET}
    found = await access(context(tracks=api(**options), environ=environ))
    assert found.ok is False
    assert "'base_url'" in found.detail
    assert (await access(context(tracks=api(**options), environ={"MINE": SECRET}))).ok is (
        "api_key_env" in options
    )


async def test_a_url_that_is_none_is_not_repeated(context: MakeContext) -> None:
    url = f"http://[{SECRET}"
    found = await access(context(tracks=api(base_url=url), environ={}))
    assert "cannot be read" in found.detail


async def test_a_key_file_has_to_hold_something(context: MakeContext, tmp_path: Path) -> None:
    file = tmp_path / "Ada's $key"
    made = context(tracks=api(api_key_file=str(file)), environ={"OPENAI_API_KEY": SECRET})
    missing = await access(made)
    assert missing.ok is False
    assert shlex.split(missing.fix)[-1] == str(file)
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


class NoOptions(BaseModel):
    """None."""


def embedder(**fields: Any) -> EmbedderFactory:
    return EmbedderFactory(
        "hash",
        "hashed words",
        NoOptions,
        lambda _options, _context: HashEmbedder(),
        rank=1,
        **fields,
    )


def index(**fields: Any) -> IndexFactory:
    return IndexFactory(
        "exact", "one by one", NoOptions, lambda _options, _context: ExactIndex(), rank=1, **fields
    )


def hooks(*parts: EmbedderFactory | IndexFactory) -> dict[str, Any]:
    from vanta import hookimpl

    embedders = [part for part in parts if isinstance(part, EmbedderFactory)]
    indexes = [part for part in parts if isinstance(part, IndexFactory)]
    return {
        "vanta_embedders": hookimpl(lambda: embedders),
        "vanta_vector_indexes": hookimpl(lambda: indexes),
    }


def config(folder: Path, **memory: Any) -> Config:
    return Config.model_validate({"data_dir": folder, "memory": memory})


async def test_all_that_takes_part_is_named(context: MakeContext) -> None:
    found = await tracks.recall(context(hooks=hooks(embedder(), index())))
    assert (found.ok, found.fix) == (True, "")
    assert "embedder 'hash'" in found.detail
    assert "index 'exact'" in found.detail


async def test_weights_that_are_not_here_leave_words_alone(context: MakeContext) -> None:
    found = await tracks.recall(
        context(hooks=hooks(embedder(off=lambda _options, _context: NOT_HERE), index()))
    )
    assert (found.ok, found.fix) == (None, "vanta models pull tiny")
    assert found.detail.startswith("by words alone: hash: model 'tiny' is not downloaded")


async def test_a_library_that_is_missing_is_named_with_its_extra(context: MakeContext) -> None:
    lacking = embedder(requires="no_such_library", extra="odd")
    plugins = installed(hooks(lacking), "vanta-odd")
    found = await tracks.recall(context(plugins=plugins))
    assert (found.ok, found.fix) == (None, "pip install 'vanta-odd[odd]'")
    lacking_index = index(requires="no_such_library", extra="chroma")
    plugins = installed(hooks(embedder(), lacking_index), DISTRIBUTION)
    found = await tracks.recall(context(plugins=plugins))
    assert (found.ok, found.fix) == (None, install_hint("chroma"))
    assert "embedder 'hash'" in found.detail


async def test_an_embedder_that_is_asked_for_by_name_and_missing_is_broken(
    context: MakeContext, tmp_path: Path
) -> None:
    off = hooks(embedder(off=lambda _options, _context: NOT_HERE))
    asked = config(tmp_path, embedder="hash")
    assert (await tracks.recall(context(hooks=off, config=asked))).ok is False
    unknown = config(tmp_path, embedder="hush")
    found = await tracks.recall(context(hooks=off, config=unknown))
    assert found.ok is False
    assert "Did you mean 'hash'?" in found.detail


async def test_memory_that_is_off_is_no_fault(context: MakeContext, tmp_path: Path) -> None:
    found = await tracks.recall(context(config=config(tmp_path, enabled=False)))
    assert (found.ok, found.fix) == (None, "")
    assert "memory.enabled is false" in found.detail
    elsewhere = Config.model_validate({"data_dir": tmp_path, "store_url": "postgresql://host/db"})
    found = await tracks.recall(context(config=elsewhere))
    assert found.ok is None
    assert "SQLite" in found.detail


async def test_nothing_is_left_behind_by_looking(context: MakeContext, tmp_path: Path) -> None:
    made = context(data=tmp_path / "data", hooks=hooks(embedder(), index()))
    await tracks.recall(made)
    assert not (tmp_path / "data").exists()


async def test_what_counts_the_tokens_of_an_api_track_is_told(context: MakeContext) -> None:
    api = {
        "engine": "openai",
        "model": "no-such-model",
        "options": {"base_url": "http://[::1]:9/v1"},
    }
    made = context(tracks={"api": api}, plugins=load())
    found = await tracks.tokens_check("api").run(made)
    assert (found.check, found.ok) == ("tokens of api", None)
    assert (
        "an estimate on the high side: tiktoken does not know a model 'no-such-model'"
        in found.detail
    )
    off = context(tracks={"api": api}, plugins=load(), off={"api": "no key"})
    assert "'api' is off" in (await tracks.tokens_check("api").run(off)).detail
