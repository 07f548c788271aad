"""Which plugins are on, off or isolated, and how failures and conflicts are reported."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from vanta.errors import PluginError, UnknownName
from vanta.hookspecs import hookimpl
from vanta.plugin_loading import Plugin, PluginSet, load
from vanta.scheduling import LegPlan, Policy

if TYPE_CHECKING:
    from tests.plugin_loading.conftest import Site

POLICY = """
    from vanta.scheduling import LegPlan, Policy

    @hookimpl
    def vanta_policies():
        return [Policy("{name}", "the local track", (LegPlan("local"),))]
"""


def policy_source(name: str) -> str:
    return POLICY.format(name=name)


def by_name(plugins: PluginSet) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in plugins.plugins}


class Calm:
    """A plugin that is passed in code."""

    @hookimpl
    def vanta_policies(self) -> list[Policy]:
        return [Policy("calm", "the local track", (LegPlan("local"),))]


def test_a_third_party_plugin_is_off_and_not_imported_until_it_is_allowed(site: Site) -> None:
    module = site.install("calm", policy_source("calm"))
    plugins = load(entry_points=site.entry_points)
    plugin = by_name(plugins)["calm"]
    assert plugin.status == "off"
    assert "plugins.allow" in plugin.reason
    assert "calm" not in plugins.policies
    assert module not in sys.modules


def test_an_allowed_plugin_is_on_with_its_provenance(site: Site) -> None:
    module = site.install("calm", policy_source("calm"), distribution="vanta-calm", version="2.3")
    plugins = load(["calm"], entry_points=site.entry_points)
    assert by_name(plugins)["calm"] == Plugin(
        "calm", module, "vanta-calm", "2.3", status="on", hooks=("vanta_policies",)
    )
    assert plugins.policies["calm"].legs == (LegPlan("local"),)
    assert plugins.policies.origin("calm") == "calm"
    assert plugins.policies.plugin("calm").version == "2.3"


def test_plugins_of_vantas_own_distribution_are_always_on(site: Site) -> None:
    site.install("calm", policy_source("calm"), distribution="Vanta_Runtime")
    plugin = by_name(load(entry_points=site.entry_points))["calm"]
    assert plugin.builtin
    assert plugin.status == "on"


@pytest.mark.parametrize("distribution", ["vanta", "vanta-calm"])
def test_a_distribution_with_a_similar_name_is_third_party(site: Site, distribution: str) -> None:
    site.install("calm", policy_source("calm"), distribution=distribution)
    assert not by_name(load(entry_points=site.entry_points))["calm"].builtin


def test_installed_entry_points_are_found_by_default(site: Site) -> None:
    site.install("calm", policy_source("calm"))
    assert "calm" in load(["calm"]).policies


BROKEN = {
    "import": ("import nowhere_to_be_found", "importing it failed: ModuleNotFoundError"),
    "syntax": ("def (:", "importing it failed: SyntaxError"),
    "exit": ("raise SystemExit(3)", "importing it failed: SystemExit: 3"),
    "raises": (
        "@hookimpl\ndef vanta_engines():\n    raise RuntimeError('no luck')",
        "vanta_engines failed: RuntimeError: no luck",
    ),
    "late": (
        "@hookimpl\ndef vanta_engines():\n    yield from ()\n    raise RuntimeError('late')",
        "vanta_engines failed: RuntimeError: late",
    ),
    "misspelt": (
        "@hookimpl\ndef vanta_engine():\n    return []",
        "no hook is named 'vanta_engine'. Did you mean 'vanta_engines'?",
    ),
    "parameter": (
        "@hookimpl\ndef vanta_observers(cfg):\n    return []",
        "vanta_observers has no parameter 'cfg'",
    ),
    "surplus": (
        "@hookimpl\ndef vanta_engines(config):\n    return []",
        "vanta_engines has no parameter 'config'. It has no parameters.",
    ),
    "unmarked": ("def vanta_engines():\n    return []", "it implements no hook"),
    "async": ("@hookimpl\nasync def vanta_engines():\n    return []", "vanta_engines is async"),
    "type": ("@hookimpl\ndef vanta_engines():\n    return [3]", "vanta_engines returned 3"),
    "text": ("@hookimpl\ndef vanta_engines():\n    return 'x'", "must return an iterable"),
    "number": ("@hookimpl\ndef vanta_policies():\n    return 7", "must return an iterable"),
    "nameless": ("@hookimpl\ndef vanta_gates():\n    return [object()]", "has no attribute 'name'"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_isolated_with_its_reason_and_the_others_work(
    site: Site, how: str
) -> None:
    source, reason = BROKEN[how]
    site.install("broken", source)
    site.install("calm", policy_source("calm"))
    plugins = load(["broken", "calm"], entry_points=site.entry_points)
    broken = by_name(plugins)["broken"]
    assert broken.status == "failed"
    assert reason in broken.reason
    assert by_name(plugins)["calm"].status == "on"
    assert "calm" in plugins.policies
    assert not plugins.engines


@pytest.mark.parametrize("how", BROKEN)
def test_strict_turns_isolation_into_an_error_that_names_the_plugin(site: Site, how: str) -> None:
    source, reason = BROKEN[how]
    site.install("broken", source, distribution="shaky", version="0.9")
    with pytest.raises(PluginError) as caught:
        load(["broken"], strict=True, entry_points=site.entry_points)
    assert "'broken' (shaky 0.9" in str(caught.value)
    assert reason in str(caught.value)


def test_a_failed_import_is_reported_with_file_and_line(site: Site) -> None:
    module = site.install("broken", "\n\n1 / 0")
    plugins = load(["broken"], entry_points=site.entry_points)
    assert f"{module}.py:4" in by_name(plugins)["broken"].reason


def test_a_plugin_whose_second_hook_raises_contributes_nothing(site: Site) -> None:
    site.install("half", policy_source("calm") + "\n    @hookimpl\n    def vanta_gates(): 1 / 0\n")
    plugins = load(["half"], entry_points=site.entry_points)
    assert by_name(plugins)["half"].status == "failed"
    assert "calm" not in plugins.policies


def test_two_plugins_with_one_name_are_an_error_that_names_both(site: Site) -> None:
    site.install("calm", policy_source("calm"), distribution="first")
    site.install("calm", policy_source("calm"), distribution="second")
    with pytest.raises(PluginError, match=r"named 'calm': .*first 1\.0.* and .*second 1\.0"):
        load(entry_points=site.entry_points)


def test_no_plugin_may_call_itself_vanta(site: Site) -> None:
    site.install("vanta", policy_source("calm"), distribution="impostor")
    with pytest.raises(PluginError, match=r"impostor.* and vanta itself"):
        load(entry_points=site.entry_points)


def test_two_objects_with_one_name_are_an_error_that_names_both_plugins(site: Site) -> None:
    site.install("first", policy_source("calm"))
    site.install("second", policy_source("calm"))
    with pytest.raises(PluginError, match=r"policy named 'calm': 'first'.* and 'second'"):
        load(["first", "second"], entry_points=site.entry_points)


def test_a_plugin_cannot_replace_a_policy_of_vantas_own(site: Site) -> None:
    site.install("taker", policy_source("race"))
    with pytest.raises(PluginError, match=r"policy named 'race': 'vanta'.* and 'taker'"):
        load(["taker"], entry_points=site.entry_points)


def test_the_names_of_a_failed_plugin_are_free(site: Site) -> None:
    site.install("half", policy_source("calm") + "\n    @hookimpl\n    def vanta_gates(): 1 / 0\n")
    site.install("whole", policy_source("calm"))
    plugins = load(["half", "whole"], entry_points=site.entry_points)
    assert plugins.policies.origin("calm") == "whole"


def test_the_order_is_vantas_own_then_third_party_by_name_then_passed_objects(site: Site) -> None:
    site.install("zeta", policy_source("z"), distribution="vanta-runtime")
    site.install("beta", policy_source("b"))
    site.install("alpha", policy_source("a"))
    for points in (site.entry_points, site.entry_points[::-1]):
        plugins = load(["beta", "alpha"], extra=[Calm()], entry_points=points)
        assert [plugin.name for plugin in plugins.plugins] == ["zeta", "alpha", "beta", "Calm"]
        assert list(plugins.policies)[-4:] == ["z", "a", "b", "calm"]


def test_a_plugin_passed_in_code_is_always_on() -> None:
    plugins = load(extra=[Calm()], entry_points=[])
    assert by_name(plugins)["Calm"].status == "on"
    assert plugins.policies.origin("calm") == "Calm"


def test_two_objects_of_one_class_need_names_of_their_own() -> None:
    with pytest.raises(PluginError, match="set another `name`"):
        load(extra=[Calm(), Calm()], entry_points=[])


def test_an_allowed_plugin_that_is_not_installed_is_listed_with_the_nearest_name(
    site: Site,
) -> None:
    site.install("calm", policy_source("calm"))
    missing = by_name(load(["clam"], entry_points=site.entry_points))["clam"]
    assert missing.status == "failed"
    assert "Did you mean 'calm'?" in missing.reason
    with pytest.raises(PluginError, match="clam"):
        load(["clam"], strict=True, entry_points=site.entry_points)


def test_an_unknown_name_names_the_nearest_and_the_plugins_that_are_not_on(site: Site) -> None:
    site.install("calm", policy_source("calm"))
    plugins = load(entry_points=site.entry_points)
    with pytest.raises(UnknownName, match=r"'rase'. Did you mean 'race'\?.*'calm' \(off\)"):
        plugins.policies["rase"]
    assert plugins.policies.get("rase") is None
    assert "rase" not in plugins.policies


def test_the_description_is_json_ready_and_lists_contributions(site: Site) -> None:
    site.install("calm", policy_source("calm"))
    site.install("other", policy_source("other"))
    described = load(["calm"], entry_points=site.entry_points).describe()
    assert json.loads(json.dumps(described)) == described
    on, off = described
    assert (on["name"], on["status"], on["hooks"]) == ("calm", "on", ["vanta_policies"])
    assert on["brings"] == {"vanta_policies": ["calm"]}
    assert (off["name"], off["status"], off["brings"]) == ("other", "off", {})


def test_a_failing_observer_hook_removes_all_contributions_of_its_plugin() -> None:
    class Watcher(Calm):
        @hookimpl
        def vanta_observers(self, config: Any) -> list[Any]:
            raise RuntimeError(f"cannot watch {config['policy']}")

    plugins = load(extra=[Watcher()], entry_points=[])
    assert "calm" in plugins.policies
    assert plugins.observers({"policy": "race"}) == ()
    assert "cannot watch race" in by_name(plugins)["Watcher"].reason
    assert "calm" not in plugins.policies
    strict = load(strict=True, extra=[Watcher()], entry_points=[])
    with pytest.raises(PluginError, match="cannot watch race"):
        strict.observers({"policy": "race"})


def test_a_registry_refuses_names_of_vantas_own_objects() -> None:
    plugins = load(extra=[Calm()], entry_points=[])
    plugins.policies.refuse({"other"})
    with pytest.raises(PluginError, match=r"'Calm'.*policy named 'calm'"):
        plugins.policies.refuse({"calm", "other"})


def test_importing_the_loader_imports_nothing_heavy() -> None:
    heavy = ("pydantic", "typer", "jinja2", "yaml", "sqlalchemy", "numpy", "rich")
    code = f"import sys, vanta.plugin_loading; print([m for m in {heavy!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
