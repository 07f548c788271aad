"""`vanta engines`, `vanta plugins` and `vanta policies`, as a user meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest

from tests.cli.as_user import Run, install
from vanta.testing import Upstream, nothing_listens

NEEDY = """
import vanta
from pydantic import BaseModel
from vanta import EngineFactory

class Options(BaseModel):
    pass

@vanta.hookimpl
def vanta_engines():
    return [EngineFactory("needy", "needs a lot", Options, None, requires="no_such_library",
                          extra="all")]
"""
QUICK = """
import vanta
from vanta.scheduling import LegPlan, Policy

@vanta.hookimpl
def vanta_policies():
    return [Policy("quick", "the local track, quickly", (LegPlan("local"),))]
"""


def engines(done: Any) -> dict[str, Any]:
    return {engine["name"]: engine for engine in done.json}


def test_every_engine_is_listed_with_its_plugin_library_and_tracks(vanta: Run) -> None:
    done = vanta("engines", "list", "--json")
    assert (done.code, done.err) == (0, "")
    openai = engines(done)["openai"]
    assert set(openai) == {"name", "summary", "plugin", "requires", "present", "extra", "tracks"}
    assert (openai["plugin"], openai["requires"], openai["present"]) == ("openai", "openai", True)
    [track] = engines(done)["llamacpp"]["tracks"]
    assert (track["track"], track["on"], track["health"]) == ("local", True, None)
    assert track["capabilities"]["grammar"] is True
    assert track["writes_calls"] is False


def test_a_track_that_is_off_says_why(vanta: Run) -> None:
    [track] = engines(vanta("engines", "list", "--json"))["openai"]["tracks"]
    assert (track["track"], track["on"], track["capabilities"]) == ("api", False, None)
    assert "OPENAI_API_KEY" in track["reason"]
    assert "api off gpt-4o-mini no OPENAI_API_KEY" in vanta("engines", "list").text


def test_a_key_turns_the_track_on_and_is_not_shown(
    vanta: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecretverysecret")
    done = vanta("engines", "list", "--json")
    assert engines(done)["openai"]["tracks"][0]["on"] is True
    assert "verysecret" not in done.text


def test_a_missing_library_is_reported_with_the_track_that_needs_it(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "needy", NEEDY, monkeypatch)
    monkeypatch.setenv("VANTA_PLUGINS__ALLOW", '["needy"]')
    monkeypatch.setenv("VANTA_TRACKS__API__ENGINE", "needy")
    monkeypatch.setenv("VANTA_TRACKS__API__MODEL", "any")
    needy = engines(vanta("engines", "list", "--json"))["needy"]
    assert needy["present"] is False
    assert "pip install 'vanta-needy[all]'" in needy["tracks"][0]["reason"]
    assert "needs 'no_such_library'" in vanta("engines", "list").text
    assert "pip install 'vanta-needy[all]'" in vanta("engines", "list").text


def test_a_check_asks_the_server_of_a_track(vanta: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__ENABLED", "false")
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Upstream(models=["gpt-4o-mini"])) as upstream,
    ):
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        done = vanta("engines", "list", "--check", "--json")
        assert "healthy: " in vanta("engines", "list", "--check").out
    assert done.code == 0, done.err
    assert engines(done)["openai"]["tracks"][0]["health"]["ok"] is True


def test_a_check_of_a_server_that_is_not_there_ends_in_1(
    vanta: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__ENABLED", "false")
    with nothing_listens() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        done = vanta("engines", "list", "--check", "--json")
    assert done.code == 1
    assert engines(done)["openai"]["tracks"][0]["health"]["ok"] is False


def test_a_load_proves_how_many_layers_are_on_a_gpu(
    vanta: Run, monkeypatch: pytest.MonkeyPatch, smollm2_path: Path
) -> None:
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__MODEL", str(smollm2_path))
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__WINDOW", "1024")
    done = vanta("engines", "list", "--load", "--json")
    [track] = engines(done)["llamacpp"]["tracks"]
    assert (done.code, track["health"]["ok"]) == (0, True), done.err
    assert "of 30 layers are on a GPU" in track["health"]["detail"]


def test_a_model_that_cannot_be_loaded_ends_in_1(
    vanta: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("VANTA_TRACKS__LOCAL__MODEL", str(tmp_path / "broken.gguf"))
    done = vanta("engines", "list", "--load", "--json")
    assert done.code == 1
    assert "not usable" in engines(done)["llamacpp"]["tracks"][0]["health"]["detail"]


def test_an_unknown_engine_is_reported_with_the_nearest_name(
    vanta: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_TRACKS__API__ENGINE", "openia")
    monkeypatch.setenv("VANTA_TRACKS__API__MODEL", "any")
    done = vanta("engines", "list")
    assert (done.code, done.out) == (2, "")
    assert "no engine is named 'openia'. Did you mean 'openai'?" in done.err


def plugins(done: Any) -> dict[str, Any]:
    return {plugin["name"]: plugin for plugin in done.json}


def test_the_builtin_plugins_are_listed_with_what_they_bring(vanta: Run) -> None:
    done = vanta("plugins", "list", "--json")
    assert done.code == 0
    openai = plugins(done)["openai"]
    assert set(openai) == {
        *("name", "module", "distribution", "version", "builtin", "status", "reason"),
        *("hooks", "brings"),
    }
    assert (openai["builtin"], openai["status"]) == (True, "on")
    assert openai["brings"]["vanta_engines"] == ["openai"]
    assert "openai on vanta" in vanta("plugins", "list").text


def test_a_third_party_plugin_is_off_until_it_is_allowed(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "quick", QUICK, monkeypatch)
    off = plugins(vanta("plugins", "list", "--json"))["quick"]
    assert off["status"] == "off"
    assert "plugins.allow" in off["reason"]
    monkeypatch.setenv("VANTA_PLUGINS__ALLOW", '["quick"]')
    on = plugins(vanta("plugins", "list", "--json"))["quick"]
    assert (on["status"], on["brings"]) == ("on", {"vanta_policies": ["quick"]})
    assert (on["distribution"], on["version"]) == ("vanta-quick", "1.2")


def test_a_broken_plugin_is_listed_with_its_reason_even_under_strict(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "broken", "import no_such_module_anywhere", monkeypatch)
    monkeypatch.setenv("VANTA_PLUGINS__ALLOW", '["broken"]')
    monkeypatch.setenv("VANTA_PLUGINS__STRICT", "true")
    done = vanta("plugins", "list", "--json")
    assert done.code == 0
    assert plugins(done)["broken"]["status"] == "failed"
    assert "no_such_module_anywhere" in plugins(done)["broken"]["reason"]
    strict = vanta("policies", "list")
    assert (strict.code, strict.out) == (2, "")
    assert "no_such_module_anywhere" in strict.err


def test_policies_are_listed_with_their_legs_and_plugins(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "quick", QUICK, monkeypatch)
    monkeypatch.setenv("VANTA_PLUGINS__ALLOW", '["quick"]')
    monkeypatch.setenv("VANTA_POLICIES__PATIENT__BASE", "hedge")
    monkeypatch.setenv("VANTA_POLICIES__PATIENT__DELAY_S", "2.5")
    done = vanta("policies", "list", "--json")
    assert done.code == 0, done.err
    found = {policy["name"]: policy for policy in done.json}
    assert (found["race"]["plugin"], found["race"]["default"]) == ("vanta", True)
    assert found["quick"]["plugin"] == "quick"
    assert found["patient"]["plugin"] is None
    assert found["patient"]["legs"][1]["start_after_s"] == 2.5
    said = vanta("policies", "list").text
    assert "race (default)" in said
    assert "local, api after 2.5 s" in said
    assert "api, local held for 2 s" in said
    assert "local judged, api if needed" in said


def test_a_policy_is_explained_as_a_timeline_and_in_words(vanta: Run) -> None:
    done = vanta("policies", "explain", "cascade").text
    assert "▶" in done
    assert "if the gate accepts it" in done
    rules = vanta("policies", "explain", "cascade", "--json").json["rules"]
    assert any("gate" in rule for rule in rules)


def test_an_unknown_policy_is_reported_with_the_nearest(vanta: Run) -> None:
    done = vanta("policies", "explain", "cascad")
    assert done.code == 2
    assert "Did you mean 'cascade'?" in done.text
