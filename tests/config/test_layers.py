"""Which layer wins, and that every value knows its layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vanta.config import Origin, TrackConfig, load, ready_configurations, user_file
from vanta.installation import configs_dir

if TYPE_CHECKING:
    from tests.config.conftest import Load


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_each_layer_wins_over_those_below_it(work: Path) -> None:
    environ: dict[str, str] = {}
    overrides: dict[str, Any] = {}

    def deadline() -> tuple[float, str]:
        loaded = load(environ=environ, overrides=overrides)
        return loaded.config.deadline_s, loaded.explain("deadline_s").origin.kind

    assert deadline() == (60, "default")
    write(user_file(), "deadline_s = 50")
    assert deadline() == (50, "file")
    write(work / "vanta.toml", "deadline_s = 20")
    assert deadline() == (20, "file")
    environ["VANTA_DEADLINE_S"] = "3"
    assert deadline() == (3, "environment")
    overrides["deadline_s"] = 4
    assert deadline() == (4, "argument")


def test_the_shipped_default_is_the_lowest_layer(work: Path) -> None:
    loaded = load(environ={})
    local, api = loaded.config.tracks["local"], loaded.config.tracks["api"]
    assert loaded.config.policy == "race"
    assert (local.engine, local.model) == ("llamacpp", "smollm2-135m-instruct")
    assert (local.window, local.reply_reserve, local.private) == (2048, 512, True)
    assert (api.engine, api.model, api.private) == ("openai", "gpt-4o-mini", False)
    assert (api.input_usd_per_mtok, api.output_usd_per_mtok) == (None, None)
    assert loaded.origins["tracks.local.model"].where == str(configs_dir() / "default.toml")


def test_a_source_replaces_the_users_and_the_projects_file(work: Path) -> None:
    write(user_file(), "deadline_s = 1")
    write(work / "vanta.toml", "stall_timeout_s = 2")
    config = load(write(work / "other.toml", "policy = 'local'"), environ={}).config
    assert (config.policy, config.deadline_s, config.stall_timeout_s) == ("local", 60, 15)
    assert config.tracks["local"].engine == "llamacpp"


def test_vanta_config_in_the_environment_is_the_source(work: Path) -> None:
    other = write(work / "other.toml", "deadline_s = 9")
    assert load(environ={"VANTA_CONFIG": str(other)}).config.deadline_s == 9
    assert load(environ={"VANTA_CONFIG": "offline"}).config.policy == "local"
    assert load("race", environ={"VANTA_CONFIG": "offline"}).config.policy == "race"


def test_a_mapping_is_a_source_too(work: Path) -> None:
    loaded = load({"tracks": {"local": {"window": 1024}}}, environ={})
    assert loaded.config.tracks["local"].window == 1024
    assert loaded.origins["tracks.local.window"] == Origin("argument", "tracks.local.window")


def test_a_track_can_be_given_as_an_object(work: Path) -> None:
    track = TrackConfig(engine="echo", model="words")
    loaded = load(environ={}, overrides={"tracks": {"local": track}})
    assert loaded.config.tracks["local"] == track


def test_an_argument_that_is_none_leaves_the_value_as_it_is(work: Path) -> None:
    loaded = load("offline", environ={}, overrides={"policy": None, "tracks": {"api": None}})
    assert loaded.config.policy == "local"


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("VANTA_POLICY", "local", "local"),
        ("VANTA_POLICY", "7", "7"),
        ("VANTA_DEADLINE_S", "2.5", 2.5),
        ("VANTA_PLUGINS__STRICT", "true", True),
        ("VANTA_PLUGINS__ALLOW", '["echo", "other"]', ["echo", "other"]),
        ("VANTA_TRACKS__LOCAL__WINDOW", "4096", 4096),
        ("VANTA_TRACKS__LOCAL__MODEL", "2024-01-01", "2024-01-01"),
        ("VANTA_TRACKS__LOCAL__OPTIONS__THREADS", "3", 3),
        ("VANTA_TRACKS__API__OPTIONS__BASE_URL", "http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("VANTA_VARIABLES__TONE", "dry\nstrict = 1", "dry\nstrict = 1"),
    ],
)
def test_a_variable_is_a_toml_value_where_the_key_takes_one_and_text_elsewhere(
    work: Path, variable: str, text: str, value: object
) -> None:
    loaded = load(environ={variable: text})
    key = variable.removeprefix("VANTA_").lower().replace("__", ".")
    assert loaded.explain(key).value == value
    assert loaded.origins[key] == Origin("environment", variable)


def test_an_empty_variable_is_ignored(work: Path) -> None:
    assert load(environ={"VANTA_POLICY": "", "VANTA_CONFIG": ""}).config.policy == "race"


def test_variables_without_the_prefix_are_ignored(work: Path) -> None:
    loaded = load(environ={"VANTAGE": "x", "OPENAI_API_KEY": "y"})
    assert {origin.kind for origin in loaded.origins.values()} == {"file"}


def test_the_folder_of_the_benchmarks_data_sets_no_key(work: Path) -> None:
    loaded = load(environ={"VANTA_BENCH_DATA": str(work)})
    assert {origin.kind for origin in loaded.origins.values()} == {"file"}


def test_a_layer_that_names_another_engine_restarts_the_track(read: Load) -> None:
    text = '[tracks.local]\nengine = "openai"\nmodel = "far-away"\n'
    track = read(text).config.tracks["local"]
    assert track == TrackConfig(engine="openai", model="far-away")
    assert not track.private


def test_a_layer_that_names_the_same_engine_only_adds_to_the_track(read: Load) -> None:
    track = read('[tracks.local]\nengine = "llamacpp"\nwindow = 1024\n').config.tracks["local"]
    assert (track.model, track.window, track.private) == ("smollm2-135m-instruct", 1024, True)


def test_a_json_schema_is_replaced_and_never_mixed(read: Load) -> None:
    loaded = read(
        '[tracks.api.sampling]\njson_schema = { type = "object", required = ["a"] }\n',
        overrides={"tracks": {"api": {"sampling": {"json_schema": {"type": "string"}}}}},
    )
    assert loaded.config.tracks["api"].sampling.json_schema == {"type": "string"}


def test_a_folder_in_a_file_is_relative_to_the_file(work: Path) -> None:
    path = write(work / "deep" / "mine.toml", 'data_dir = "data"')
    assert load(path, environ={}).config.data_dir == work / "deep" / "data"
    assert load(environ={"VANTA_DATA_DIR": "data"}).config.data_dir == work / "data"
    home = load(environ={}, overrides={"data_dir": "~/x"}).config.data_dir
    assert home == Path.home() / "x"


def test_loading_creates_nothing(work: Path) -> None:
    data_dir = load(environ={}).config.data_dir
    assert data_dir.name == "vanta"
    assert not data_dir.exists()
    assert list(work.iterdir()) == []
    assert list(Path.home().iterdir()) == []


def test_four_ready_configurations_ship_with_vanta() -> None:
    assert set(ready_configurations()) == {"default", "offline", "race", "cloud-first"}


@pytest.mark.parametrize(
    ("name", "policy"),
    [("default", "race"), ("offline", "local"), ("race", "race"), ("cloud-first", "prefer")],
)
def test_a_ready_configuration_sets_its_policy(work: Path, name: str, policy: str) -> None:
    assert load(name, environ={}).config.policy == policy


def test_offline_disables_the_api_track(work: Path) -> None:
    assert not load("offline", environ={}).config.tracks["api"].enabled
