"""Every hook of the contract: documented, with its exact signature, and tested by its effect."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import typer
from typer.testing import CliRunner

from vanta.engine import EngineContext
from vanta.errors import ModelStoreError
from vanta.events import TurnStarted
from vanta.memory.embedder import EmbedderContext
from vanta.memory.index import IndexContext
from vanta.messages import Completion
from vanta.models import ModelEntry, ModelStore, builtin_sources
from vanta.plugin_loading import PluginSet, load
from vanta.plugin_loading.hooks import CONTRACTS, HOOKS
from vanta.privacy import reason_to_be_private
from vanta.prompts import Templates
from vanta.resources import templates_dir
from vanta.runtime.background import accompanied
from vanta.scheduling import GateRule, LegPlan, adapt

if TYPE_CHECKING:
    from tests.plugin_loading.conftest import Site

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
SECTION = re.compile(r"^### `(\w+)(\(.*?)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SECTIONS = {match[1]: match for match in SECTION.finditer(PAGE)}


def signature(hook: types.FunctionType) -> str:
    """The signature as it is written in vanta.hookspecs."""
    return str(inspect.signature(hook)).replace("'", "")


def example(hook: str, folder: Path) -> PluginSet:
    """The plugin that docs/plugins.md shows for `hook`, loaded as if it lay in `folder`."""
    (code,) = BLOCK.findall(SECTIONS[hook][3])
    module = types.ModuleType("example")
    module.__file__ = str(folder / "example.py")
    exec(compile(code, f"docs/plugins.md: {hook}", "exec"), module.__dict__)  # noqa: S102
    plugins = load(strict=True, extra=[module], entry_points=[])
    assert plugins.plugins[0].hooks == (hook,)
    return plugins


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_documented_with_what_it_takes_and_returns(hook: str) -> None:
    text = inspect.getdoc(HOOKS[hook]) or ""
    summary = text.split("\n", 1)[0]
    assert summary.endswith((".", ":", "...)."))
    assert ":returns: " in text
    documented = re.findall(r":param (\w+): \S", text)
    assert documented == list(inspect.signature(HOOKS[hook]).parameters)


def test_the_page_for_authors_lists_each_hook_with_its_exact_signature_in_order() -> None:
    listed = [(match[1], match[2]) for match in SECTIONS.values()]
    assert listed == [(name, signature(hook)) for name, hook in HOOKS.items()]


def test_each_hook_has_a_contract_that_checks_its_objects() -> None:
    assert set(CONTRACTS) == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_test_of_its_own(hook: str) -> None:
    own = [name for name in globals() if re.match(rf"test_{hook}_[a-z]", name)]
    assert own, f"write a test whose name begins with test_{hook}_"


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_called_once(hook: str, site: Site) -> None:
    arguments = ", ".join(inspect.signature(HOOKS[hook]).parameters)
    site.install("counter", f"CALLS = []\n@hookimpl\ndef {hook}({arguments}): CALLS.append(1)\n")
    plugins = load(["counter"], strict=True, entry_points=site.entry_points)
    plugins.observers({})
    import some_counter_counter as counter  # type: ignore[import-not-found]

    assert counter.CALLS == [1]


def test_vanta_engines_bring_factories_whose_options_are_checked(tmp_path: Path) -> None:
    factory = example("vanta_engines", tmp_path).engines["parrot"]
    assert factory.options.model_validate({"loud": True}).model_dump() == {"loud": True}
    with pytest.raises(ModuleNotFoundError, match="my_parrot"):
        factory.create(factory.options(), EngineContext("local", "m", None, lambda _ref: None))  # type: ignore[arg-type,return-value]


def test_vanta_models_are_found_by_the_model_store(tmp_path: Path) -> None:
    models = example("vanta_models", tmp_path).models
    store = ModelStore(tmp_path, dict(models), builtin_sources())
    assert store.entry("parrot-1b").window == 2048
    assert models.origin("parrot-1b") == "example"


def test_vanta_model_sources_provide_the_files_of_their_scheme(tmp_path: Path) -> None:
    sources = example("vanta_model_sources", tmp_path).sources
    entry = ModelEntry(id="parrot-1b", source="shared:parrot.gguf")
    store = ModelStore(tmp_path / "models", {entry.id: entry}, dict(sources))
    with pytest.raises(ModelStoreError, match="not on the shared folder"):
        store.pull("parrot-1b")


@pytest.mark.anyio
async def test_vanta_embedders_turn_texts_into_vectors(tmp_path: Path) -> None:
    embedders = example("vanta_embedders", tmp_path).embedders
    factory, context = embedders["vowels"], EmbedderContext("", tmp_path, lambda _ref: None)  # type: ignore[arg-type,return-value]
    quiet, loud = (
        factory.create(factory.options.model_validate({"case": case}), context)
        for case in (False, True)
    )
    await quiet.load()
    assert (await quiet.embed(["Anna", "xyz"])).tolist() == [[1, 0, 0, 0, 0], [0] * 5]
    assert (await loud.embed(["ABE", "beE"])).tolist() == [[0] * 5, [0, 1, 0, 0, 0]]
    assert quiet.fingerprint == "vowels/5/1"
    assert embedders.origin("vowels") == "example"


def test_vanta_vector_indexes_bring_factories_whose_options_are_checked(tmp_path: Path) -> None:
    indexes = example("vanta_vector_indexes", tmp_path).vector_indexes
    factory = indexes["shoebox"]
    assert factory.options.model_validate({"drawers": 2}).model_dump() == {"drawers": 2}
    assert indexes.origin("shoebox") == "example"
    with pytest.raises(ModuleNotFoundError, match="my_shoebox"):
        factory.create(factory.options(), IndexContext(tmp_path))


def test_vanta_policies_can_be_varied_like_vantas_own(tmp_path: Path) -> None:
    policies = example("vanta_policies", tmp_path).policies
    varied = adapt(policies["patient"], name="quick", delay_s=0.1)
    assert varied.legs[1] == LegPlan("api", start_after_s=0.1)
    assert policies.origin("patient") == "example"
    assert policies.origin("race") == "vanta"


@pytest.mark.anyio
async def test_vanta_gates_judge_beside_vantas_own(tmp_path: Path) -> None:
    gates = example("vanta_gates", tmp_path).gates
    verdict = await gates["polite"].judge(Completion(text="Please do."), GateRule(use="polite"))
    assert verdict.accepted
    assert set(gates) == {"signals", "polite"}


def test_vanta_detectors_name_the_kind_of_a_match(tmp_path: Path) -> None:
    detectors = example("vanta_detectors", tmp_path).detectors
    assert reason_to_be_private("I am B-123456", [detectors["badges"]]) == (
        "the message has a badge number (detector 'badges')"
    )
    assert detectors["badges"].find("I am nobody") is None


def test_vanta_templates_are_rendered_by_name(tmp_path: Path) -> None:
    pirate = tmp_path / "templates" / "system" / "pirate.j2"
    pirate.parent.mkdir(parents=True)
    pirate.write_text("Speak like {{ who }}.", "utf-8")
    folders = example("vanta_templates", tmp_path).template_dirs
    templates = Templates([*folders, templates_dir()])
    assert templates.render("system/pirate", {"who": "a pirate"}).strip() == "Speak like a pirate."


def test_vanta_templates_of_a_missing_folder_isolate_the_plugin(site: Site) -> None:
    source = (
        "from pathlib import Path\n@hookimpl\ndef vanta_templates(): return [Path('/not/there')]"
    )
    site.install("lost", source)
    (plugin,) = load(["lost"], entry_points=site.entry_points).plugins
    assert plugin.status == "failed"
    assert "there is no such folder" in plugin.reason


def test_vanta_observers_get_the_configuration_and_every_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (observer,) = example("vanta_observers", tmp_path).observers({"policy": "race"})
    observer(TurnStarted(at_s=0.0, turn_id="t", session_id="ada", policy="race", deadline_s=60.0))
    shown = capsys.readouterr().out
    assert shown.startswith("race {'type': 'TurnStarted'")


@pytest.mark.anyio
async def test_vanta_checks_return_findings(tmp_path: Path) -> None:
    check = example("vanta_checks", tmp_path).checks["parrot"]
    context: Any = None
    finding = await check.run(context)
    assert finding.ok
    assert finding.detail == "the parrot is awake"


@pytest.mark.anyio
async def test_vanta_companions_run_beside_an_open_runtime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feeder = example("vanta_companions", tmp_path).companions["feeder"]
    runtime: Any = types.SimpleNamespace(idle=_idle)
    async with accompanied(runtime, [feeder]):
        await anyio.wait_all_tasks_blocked()
    assert capsys.readouterr().out == "crunch\n"


async def _idle() -> anyio.Event:
    return anyio.Event()


def test_vanta_expectations_hold_or_report_the_actual_value(tmp_path: Path) -> None:
    expectation = example("vanta_expectations", tmp_path).expectations["max_words"]
    reply = types.SimpleNamespace(text="one two three")
    seen: Any = types.SimpleNamespace(say="", reply=reply)
    assert expectation.check(3, seen) is None
    assert str(expectation.check(2, seen)) == "expected 2 words at the most; came 3"


def test_vanta_commands_can_be_run_by_name(tmp_path: Path) -> None:
    app = typer.Typer()
    for name, command in example("vanta_commands", tmp_path).commands.items():
        app.add_typer(command, name=name)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["parrot", "feed"])
    assert result.exit_code == 0, result.output
    assert result.output == "crunch\n"
