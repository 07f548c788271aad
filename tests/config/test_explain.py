"""Every value can say what it is and where it came from, and no secret is shown on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, ConfigDict

from vanta.config import load
from vanta.engine import Engine, EngineContext, EngineFactory
from vanta.errors import ConfigError
from vanta.hookspecs import hookimpl
from vanta.plugin_loading import PluginSet
from vanta.plugin_loading import load as load_plugins

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load


class Options(BaseModel):
    """Options of an engine."""

    model_config = ConfigDict(extra="forbid")
    threads: int = 1


def create(options: Options, context: EngineContext) -> Engine:
    raise NotImplementedError


class Engines:
    """A plugin with both engines of the default configuration, in name."""

    @hookimpl
    def vanta_engines(self) -> list[EngineFactory]:
        return [EngineFactory(name, "", Options, create) for name in ("llamacpp", "openai")]


@pytest.fixture
def plugins() -> PluginSet:
    return load_plugins(extra=[Engines()], entry_points=[])


def test_an_explanation_has_value_origin_description_and_what_lies_below(read: Load) -> None:
    loaded = read("\ndeadline_s = 5", {"VANTA_DEADLINE_S": "6"}, overrides={"deadline_s": 7})
    found = loaded.explain("deadline_s")
    assert found.value == 7
    assert str(found.origin) == "argument deadline_s"
    assert found.description == "Seconds that a whole turn may take."
    below = [(str(origin), value) for origin, value in found.below]
    assert below[0] == ("environment variable VANTA_DEADLINE_S", 6)
    assert below[1][0].endswith("mine.toml:2")
    assert below[1][1] == 5
    assert json.loads(json.dumps(found.to_dict()))["below"][0]["value"] == 6


def test_an_explanation_reads_as_a_short_text(read: Load) -> None:
    shown = str(read("deadline_s = 5").explain("deadline_s")).splitlines()
    assert shown[0] == "deadline_s = 5.0"
    assert shown[1] == "  Seconds that a whole turn may take."
    assert shown[2].endswith("mine.toml:1")


def test_what_nobody_set_comes_from_vantas_default(work: Path) -> None:
    found = load(environ={}).explain("tracks.local.sampling.temperature")
    assert (found.value, found.origin.kind) == (None, "default")


def test_a_table_is_explained_key_by_key(work: Path) -> None:
    found = load(environ={}).explain("tracks.api")
    assert {"tracks.api.engine", "tracks.api.sampling"} <= {part.key for part in found.parts}
    assert "tracks.api.model = " in str(found)


def test_what_was_said_of_an_engine_that_was_replaced_counts_no_more(read: Load) -> None:
    loaded = read('[tracks.local]\nengine = "openai"\nmodel = "x"')
    found = loaded.explain("tracks.local.private")
    assert (found.value, found.origin.kind) == (False, "default")
    assert [value for _origin, value in found.below] == [True]


def test_explaining_what_does_not_exist_names_the_nearest(work: Path) -> None:
    with pytest.raises(ConfigError, match=r"'tracks.local.modell'. Did you mean 'tracks\.local"):
        load(environ={}).explain("tracks.local.modell")
    with pytest.raises(ConfigError, match=r"'tracks\.third' is a valid key, but nothing sets it"):
        load(environ={}).explain("tracks.third.model")


def test_the_lines_are_found_in_any_sort_of_toml(read: Load) -> None:
    loaded = read(
        "# a comment\n"
        'system = """\n[tracks.local]\nwindow = 1\n"""\n'
        "variables.tone = 'dry'\n"
        'variables."odd = key" = [\n  1, # one\n  2,\n]\n'
        "\n[tracks . local]\n"
        "options = { a = 1, b = { c = 2 } }\n"
    )
    lines = {key: at.line for key, at in loaded.origins.items() if at.where.endswith("mine.toml")}
    assert lines == {
        "system": 2,
        "variables.tone": 6,
        "variables.odd = key": 7,
        "tracks.local.options.a": 13,
        "tracks.local.options.b.c": 13,
    }


def test_secrets_are_in_no_view_of_the_configuration(work: Path) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    loaded = load(
        {
            "store_url": "postgresql://me:hush@db/vanta",
            "variables": {"note": f"use {key}", "list": [f"Bearer {key}"], "db_password": "hush"},
            "tracks": {"api": {"options": {"base_url": "https://me:hush@host/v1"}}},
        },
        environ={},
    )
    views = [
        json.dumps(loaded.as_dict()),
        repr(loaded.origins),
        str(loaded.explain("store_url")),
        str(loaded.explain("tracks.api.options.base_url")),
        str(loaded.explain("variables")),
        json.dumps(loaded.explain("variables").to_dict()),
    ]
    for view in views:
        assert "hush" not in view
        assert key not in view
    assert loaded.as_dict()["store_url"] == "postgresql://***@db/vanta"
    assert loaded.as_dict(redacted=False)["store_url"] == "postgresql://me:hush@db/vanta"


def test_the_whole_configuration_is_json_ready(work: Path) -> None:
    data = load(environ={}).as_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["deadline_s"] == 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('policy = "rase"', "mine.toml:1: no policy is named 'rase'. Did you mean 'race'?"),
        ("[policies.race]\nhold_s = 1", "'hold_s' has no effect there"),
        ("[policies.mine]\ntakeover = 'fail'", "Set `base` under [policies.mine]"),
        (
            'policy = "mine"\n[policies.mine]\nbase = "race"\ntracks = ["local", "apl"]',
            "policy 'mine' needs a track 'apl'. Did you mean 'api'?",
        ),
        (
            'policy = "local"\ntracks.local.enabled = false',
            "policy 'local' has no track that is enabled. Enable one of local.",
        ),
    ],
)
def test_a_check_finds_what_fits_the_schema_and_cannot_work(
    read: Load, text: str, told: str
) -> None:
    assert any(told in problem for problem in read(text).check())


def test_a_check_with_plugins_looks_at_engines_and_their_options(
    read: Load, plugins: PluginSet
) -> None:
    assert read("").check(plugins) == ()
    (engine,) = read('[tracks.x]\nengine = "opena"\nmodel = "m"').check(plugins)
    assert "mine.toml:2: no engine is named 'opena'. Did you mean 'openai'?" in engine
    (unknown,) = read("[tracks.api.options]\nthread = 2").check(plugins)
    assert "mine.toml:2: engine 'openai' has no option 'thread'" in unknown
    assert "Did you mean 'threads'?" in unknown
    (wrong,) = read('[tracks.api.options]\nthreads = "many"').check(plugins)
    assert "mine.toml:2: tracks.api.options.threads must be a valid integer" in wrong
    assert "'many'" in wrong


def test_a_check_with_plugins_looks_at_gates(read: Load, plugins: PluginSet) -> None:
    (problem,) = read('[policies.cascade.gate]\nuse = "signal"').check(plugins)
    assert "mine.toml:2: no gate is named 'signal'. Did you mean 'signals'?" in problem


def test_a_policy_of_an_allowed_plugin_is_not_called_unknown_before_it_is_loaded(
    read: Load, plugins: PluginSet
) -> None:
    loaded = read('policy = "strange"\nplugins.allow = ["stranger"]')
    assert loaded.check() == ()
    assert "no policy is named 'strange'" in loaded.check(plugins)[0]


def test_options_come_out_as_the_engines_own_type(read: Load) -> None:
    loaded = read("[tracks.api.options]\nthreads = 4")
    assert loaded.options("api", Options) == Options(threads=4)


def test_a_disabled_track_is_not_checked(read: Load, plugins: PluginSet) -> None:
    text = '[tracks.x]\nenabled = false\nengine = "none"\nmodel = "m"'
    assert read(text).check(plugins) == ()
