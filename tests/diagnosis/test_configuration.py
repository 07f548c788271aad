"""A configuration that fits the schema is checked for names that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from vanta.config import Loaded, load, ready_configurations
from vanta.diagnosis import configuration_problems
from vanta.engine import Engine, EngineContext, EngineFactory
from vanta.hookspecs import hookimpl
from vanta.plugin_loading import PluginSet
from vanta.plugin_loading import load as load_plugins

Load = Callable[[str], Loaded]


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


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Loads a configuration file with the given text, without any environment variable."""

    def from_text(text: str) -> Loaded:
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return load(path, environ={})

    return from_text


@pytest.mark.parametrize(
    ("text", "expected"),
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
            "policy 'local' has no enabled track. Enable one of 'local'.",
        ),
    ],
)
def test_unknown_names_are_found_in_a_configuration_that_fits_the_schema(
    read: Load, text: str, expected: str
) -> None:
    assert any(expected in problem for problem in configuration_problems(read(text)))


def test_engines_and_their_options_are_checked_against_the_plugins(
    read: Load, plugins: PluginSet
) -> None:
    assert configuration_problems(read(""), plugins) == ()
    (engine,) = configuration_problems(read('[tracks.x]\nengine = "opena"\nmodel = "m"'), plugins)
    assert "mine.toml:2: no engine is named 'opena'. Did you mean 'openai'?" in engine
    (unknown,) = configuration_problems(read("[tracks.api.options]\nthread = 2"), plugins)
    assert "mine.toml:2: engine 'openai' has no option 'thread'" in unknown
    assert "Did you mean 'threads'?" in unknown
    (wrong,) = configuration_problems(read('[tracks.api.options]\nthreads = "many"'), plugins)
    assert "mine.toml:2: tracks.api.options.threads must be a valid integer" in wrong
    assert "'many'" in wrong


def test_gates_are_checked_against_the_plugins(read: Load, plugins: PluginSet) -> None:
    (problem,) = configuration_problems(read('[policies.cascade.gate]\nuse = "signal"'), plugins)
    assert "mine.toml:2: no gate is named 'signal'. Did you mean 'signals'?" in problem
    fitted = read('[policies.cascade.gate]\nuse = "calibrated"')
    assert configuration_problems(fitted, plugins) == (), "vanta's own gate needs no plugin"


def test_a_policy_may_belong_to_an_allowed_plugin_that_is_not_loaded_yet(
    read: Load, plugins: PluginSet
) -> None:
    loaded = read('policy = "strange"\nplugins.allow = ["stranger"]')
    assert configuration_problems(loaded) == ()
    assert "no policy is named 'strange'" in configuration_problems(loaded, plugins)[0]


def test_a_disabled_track_is_not_checked(read: Load, plugins: PluginSet) -> None:
    text = '[tracks.x]\nenabled = false\nengine = "none"\nmodel = "m"'
    assert configuration_problems(read(text), plugins) == ()


@pytest.mark.parametrize("name", ready_configurations())
def test_a_ready_configuration_has_no_problem(name: str) -> None:
    assert configuration_problems(load(name, environ={})) == ()
