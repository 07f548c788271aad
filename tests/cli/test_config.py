"""`vanta config`, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.as_user import Run
from tests.trusted import trust

EXPLAINED = {"key", "value", "origin", "description", "below", "ignored", "parts"}


def test_show_has_every_value_and_its_source(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vanta.toml").write_text("deadline_s = 17.5\n")
    monkeypatch.setenv("VANTA_POLICY", "hedge")
    done = vanta("config", "show", "--json")
    assert done.code == 0
    assert set(done.json) == {"config", "origins"}
    assert (done.json["config"]["deadline_s"], done.json["config"]["policy"]) == (17.5, "hedge")
    assert done.json["config"]["stall_timeout_s"] == 15.0
    assert done.json["origins"]["deadline_s"] == "vanta.toml:1"
    assert done.json["origins"]["policy"] == "environment variable VANTA_POLICY"
    said = vanta("config", "show").text
    assert "deadline_s 17.5 vanta.toml:1" in said
    assert "stall_timeout_s" not in said
    assert "stall_timeout_s 15.0 vanta's default" in vanta("config", "show", "--all").text


def test_show_hides_secrets(vanta: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTA_STORE_URL", "postgresql://ada:verysecret@db/vanta")
    for arguments in (["--json"], [], ["--all"]):
        assert "verysecret" not in vanta("config", "show", *arguments).text
    assert "verysecret" not in vanta("config", "explain", "store_url").text


def test_a_ready_configuration_can_be_named_before_and_after_the_command(vanta: Run) -> None:
    for arguments in (("-c", "offline", "config", "show"), ("config", "show", "-c", "offline")):
        done = vanta(*arguments, "--json")
        assert done.json["config"]["policy"] == "local"


def test_check_accepts_the_default(vanta: Run) -> None:
    done = vanta("config", "check", "--json")
    assert (done.code, done.json) == (0, {"ok": True, "problems": []})
    assert vanta("config", "check").out == "the configuration is fine\n"


def test_check_reports_an_unknown_key_with_file_and_nearest_name(
    vanta: Run, tmp_path: Path
) -> None:
    (tmp_path / "vanta.toml").write_text("deadline = 5\n")
    done = vanta("config", "check", "--json")
    assert (done.code, done.json["ok"]) == (2, False)
    [problem] = done.json["problems"]
    assert "vanta.toml" in problem
    assert "'deadline_s'" in problem
    assert "'deadline_s'" in vanta("config", "check").out


def test_check_reports_names_that_fit_the_schema_and_do_not_exist(
    vanta: Run, tmp_path: Path
) -> None:
    track = '[tracks.local]\nengine = "lamacpp"\nmodel = "any"\n'
    (tmp_path / "vanta.toml").write_text(f'policy = "hegde"\n{track}')
    trust(tmp_path)
    done = vanta("config", "check", "--json")
    assert done.code == 2
    data = " ".join(done.json["problems"])
    assert "'hedge'" in data
    assert "'llamacpp'" in data


def test_a_wrong_type_ends_every_command_with_its_place(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "vanta.toml").write_text('deadline_s = "soon"\n')
    done = vanta("config", "check")
    assert done.code == 2
    assert "vanta.toml:1: deadline_s: it is not a valid value" in done.out
    assert vanta("config", "show").code == 0  # a stranger's mistake ends no command
    trust(tmp_path)
    for command in (("config", "show"), ("models", "list"), ("engines", "list"), ("doctor",)):
        done = vanta(*command)
        assert (done.code, done.out) == (2, ""), command
        assert "vanta.toml:1" in done.err


def test_explain_shows_the_values_that_a_value_overrides(
    vanta: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_POLICY", "hedge")
    done = vanta("config", "explain", "policy", "--json")
    assert done.code == 0
    assert set(done.json) == EXPLAINED
    assert (done.json["value"], done.json["below"][0]["value"]) == ("hedge", "race")
    assert "from environment variable VANTA_POLICY" in vanta("config", "explain", "policy").out


def test_explain_shows_what_a_model_recommends_and_what_overrides_it(
    vanta: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "tracks.local.sampling.temperature"
    done = vanta("config", "explain", key, "--json").json
    assert (done["value"], "SmolLM2-135M-Instruct" in done["origin"]) == (0.2, True)
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__SAMPLING__TEMPERATURE", "0.5")
    done = vanta("config", "explain", key, "--json").json
    assert (done["value"], done["below"][-1]["value"]) == (0.5, 0.2)
    assert (
        vanta("config", "explain", "tracks.api.sampling.temperature", "--json").json["value"]
        is None
    )


def test_explain_reports_an_unknown_key_with_the_nearest_name(vanta: Run) -> None:
    done = vanta("config", "explain", "tracks.local.windo")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'tracks.local.window'?" in done.err
