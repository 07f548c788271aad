"""Every hook of the contract is documented, has a contract of its own, and is called once."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING

import pytest

from vanta.plugin_loading import load
from vanta.plugin_loading.hooks import CONTRACTS, HOOKS

if TYPE_CHECKING:
    from tests.plugin_loading.conftest import Site


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_documented_with_what_it_takes_and_returns(hook: str) -> None:
    text = inspect.getdoc(HOOKS[hook]) or ""
    summary = text.split("\n", 1)[0]
    assert summary.endswith((".", ":", "...)."))
    assert ":returns: " in text
    documented = re.findall(r":param (\w+): \S", text)
    assert documented == list(inspect.signature(HOOKS[hook]).parameters)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_documentation_of_each_hook_names_public_classes_only(hook: str) -> None:
    for name in re.findall(r":class:`([\w.]+)`", inspect.getdoc(HOOKS[hook]) or ""):
        module, _, attribute = name.rpartition(".")
        assert module == "typer" or attribute in importlib.import_module(module).__all__, name


def test_each_hook_has_a_contract_that_checks_its_objects() -> None:
    assert set(CONTRACTS) == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_called_once(hook: str, site: Site) -> None:
    arguments = ", ".join(inspect.signature(HOOKS[hook]).parameters)
    site.install("counter", f"CALLS = []\n@hookimpl\ndef {hook}({arguments}): CALLS.append(1)\n")
    plugins = load(["counter"], strict=True, entry_points=site.entry_points)
    plugins.observers({})
    plugins.configure_toolsets({})
    import some_counter_counter as counter  # type: ignore[import-not-found]

    assert counter.CALLS == [1]


def test_templates_of_a_missing_folder_isolate_the_plugin(site: Site) -> None:
    source = (
        "from pathlib import Path\n@hookimpl\ndef vanta_templates(): return [Path('/not/there')]"
    )
    site.install("lost", source)
    (plugin,) = load(["lost"], entry_points=site.entry_points).plugins
    assert plugin.status == "failed"
    assert "there is no such folder" in plugin.reason
