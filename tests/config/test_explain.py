"""Every value can be explained with its source, and no view shows a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, ConfigDict

from vanta.config import Origin, Setting, load
from vanta.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load


class Options(BaseModel):
    """Options of an engine."""

    model_config = ConfigDict(extra="forbid")
    threads: int = 1


def test_an_explanation_has_value_origin_description_and_overridden_values(read: Load) -> None:
    loaded = read("\ndeadline_s = 5", {"VANTA_DEADLINE_S": "6"}, overrides={"deadline_s": 7})
    explanation = loaded.explain("deadline_s")
    assert explanation.value == 7
    assert str(explanation.origin) == "argument deadline_s"
    assert explanation.description == "Seconds that a whole turn may take."
    below = [(str(origin), value) for origin, value in explanation.below]
    assert below[0] == ("environment variable VANTA_DEADLINE_S", 6)
    assert below[1][0].endswith("mine.toml:2")
    assert below[1][1] == 5
    assert json.loads(json.dumps(explanation.to_dict()))["below"][0]["value"] == 6


def test_an_explanation_reads_as_a_short_text(read: Load) -> None:
    shown = str(read("deadline_s = 5").explain("deadline_s")).splitlines()
    assert shown[0] == "deadline_s = 5.0"
    assert shown[1] == "  Seconds that a whole turn may take."
    assert shown[2].endswith("mine.toml:1")


def test_an_unset_key_comes_from_vantas_default(work: Path) -> None:
    explanation = load(environ={}).explain("tracks.local.sampling.temperature")
    assert (explanation.value, explanation.origin.kind) == (None, "default")


def test_what_a_model_recommends_is_below_every_layer(read: Load) -> None:
    where = Origin("model", "https://example.org/card")
    key = ("tracks", "local", "sampling", "top_p")
    recommended = [Setting(key, 0.9, where), Setting((*key[:3], "temperature"), 0.2, where)]
    loaded = read("[tracks.local.sampling]\ntemperature = 0.7")
    unset = loaded.explain("tracks.local.sampling.top_p", recommended)
    assert (unset.value, str(unset.origin)) == (0.9, "https://example.org/card")
    overridden = loaded.explain("tracks.local.sampling.temperature", recommended)
    assert (overridden.value, overridden.origin.line) == (0.7, 2)
    assert overridden.below[-1] == (where, 0.2)
    assert "top_p = 0.9" in str(loaded.explain("tracks.local", recommended))
    assert loaded.explain("tracks.local.sampling.top_p").value is None


def test_a_table_is_explained_key_by_key(work: Path) -> None:
    explanation = load(environ={}).explain("tracks.api")
    assert {"tracks.api.engine", "tracks.api.sampling"} <= {part.key for part in explanation.parts}
    assert "tracks.api.model = " in str(explanation)


def test_the_settings_of_a_replaced_engine_no_longer_apply(read: Load) -> None:
    loaded = read('[tracks.local]\nengine = "openai"\nmodel = "x"')
    explanation = loaded.explain("tracks.local.private")
    assert (explanation.value, explanation.origin.kind) == (False, "default")
    assert [value for _origin, value in explanation.below] == [True]


def test_explaining_an_unknown_key_names_the_nearest_one(work: Path) -> None:
    with pytest.raises(ConfigError, match=r"'tracks.local.modell'. Did you mean 'tracks\.local"):
        load(environ={}).explain("tracks.local.modell")
    with pytest.raises(ConfigError, match=r"'tracks\.third' is a valid key, but nothing sets it"):
        load(environ={}).explain("tracks.third.model")


def test_line_numbers_are_right_in_every_form_of_toml(read: Load) -> None:
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


def test_no_view_of_the_configuration_contains_a_secret(work: Path) -> None:
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


def test_options_are_validated_into_the_engines_own_model(read: Load) -> None:
    loaded = read("[tracks.api.options]\nthreads = 4")
    assert loaded.options("api", Options) == Options(threads=4)
