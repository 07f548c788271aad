"""`vanta plugins list` and `vanta policies list`, as a user meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.as_user import Run, install, user

QUICK = """
import vanta
from vanta.scheduling import LegPlan, Policy

@vanta.hookimpl
def vanta_policies():
    return [Policy("quick", "the local track, quickly", (LegPlan("local"),))]
"""


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


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
