"""The page on plugins is true: every example is loaded, used, and held to its contract."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path
from typing import Any

import anyio
import pytest
import typer
from typer.testing import CliRunner

from tests.docs.pages import page, run_python
from vanta.engine import EngineContext
from vanta.errors import ModelStoreError
from vanta.events import TurnStarted
from vanta.installation import templates_dir
from vanta.memory import EmbedderContext, IndexContext, Partition
from vanta.messages import Completion
from vanta.models import ModelEntry, ModelStore, builtin_sources
from vanta.plugin_loading import PluginSet, load
from vanta.plugin_loading.hooks import HOOKS
from vanta.privacy import reason_to_be_private
from vanta.prompts import Templates
from vanta.runtime.background import accompanied
from vanta.scheduling import GateRule, LegPlan, adapt
from vanta.testing import ask, read_stream
from vanta.tool_contract import ToolContext, ToolsetContext
from vanta.tools import ToolRegistry

PAGE = page("docs/plugins.md")
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


def test_the_page_for_authors_lists_each_hook_with_its_exact_signature_in_order() -> None:
    listed = [(match[1], match[2]) for match in SECTIONS.values()]
    assert listed == [(name, signature(hook)) for name, hook in HOOKS.items()]


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_test_of_its_own(hook: str) -> None:
    own = [name for name in globals() if re.match(rf"test_{hook}_[a-z]", name)]
    assert own, f"write a test whose name begins with test_{hook}_"


def test_the_test_file_of_the_page_passes(tmp_path: Path) -> None:
    testing = PAGE.partition("## Testing a plugin")[2].partition("## Generation")[0]
    modules = {
        "vanta_parrot": SECTIONS["vanta_engines"][3],
        "vanta_letters": SECTIONS["vanta_embedders"][3],
        "vanta_shoebox": SECTIONS["vanta_vector_indexes"][3],
        "test_plugins": testing,
    }
    for name, section in modules.items():
        (code,) = BLOCK.findall(section)
        (tmp_path / f"{name}.py").write_text(code, "utf-8")
    ran = run_python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plugins.py", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert re.search(r"\b\d{2,} passed", ran.stdout), ran.stdout


@pytest.mark.anyio
async def test_vanta_engines_answer_under_their_options(tmp_path: Path) -> None:
    factory = example("vanta_engines", tmp_path).engines["parrot"]
    context = EngineContext("local", "words", None, lambda _ref: None)  # type: ignore[arg-type,return-value]
    engine = factory.create(factory.options.model_validate({"loud": True}), context)
    result = await read_stream(engine, ask("one two three", max_tokens=2))
    assert result.answer.text == "ONE TWO "
    assert result.answer.finish_reason == "length"
    await engine.aclose()


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
async def test_vanta_toolsets_run_calls_under_their_options(tmp_path: Path) -> None:
    factory = example("vanta_toolsets", tmp_path).toolsets["dice"]
    options = factory.options.model_validate({"sides": 2})
    toolset = factory.create(options, ToolsetContext(tmp_path, tmp_path))
    registry = ToolRegistry({"dice": toolset})
    (roll,) = await registry.offered()
    result = await registry.call(roll, {"count": 50}, ToolContext())
    assert (roll.identity, roll.tool.effect, roll.tool.private) == ("dice.roll", "read", True)
    assert set(result.data) <= {1, 2}
    assert len(result.data) == 50


@pytest.mark.anyio
async def test_vanta_configured_toolsets_are_one_for_each_table(tmp_path: Path) -> None:
    plugins = example("vanta_configured_toolsets", tmp_path)
    assert (plugins.configured_toolsets, list(plugins.toolsets)) == ((), [])
    plugins.configure_toolsets({"tracks": {"local": {}, "api": {}}})
    assert plugins.configured_toolsets == ("greet-local", "greet-api")
    factory = plugins.toolsets["greet-api"]
    toolset = factory.create(factory.options(), ToolsetContext(tmp_path, tmp_path))
    assert (await toolset.call("greet", {}, ToolContext())).text == "Hello from api."


@pytest.mark.anyio
async def test_vanta_embedders_turn_texts_into_vectors(tmp_path: Path) -> None:
    embedders = example("vanta_embedders", tmp_path).embedders
    factory, context = embedders["letters"], EmbedderContext("", tmp_path, lambda _ref: None)  # type: ignore[arg-type,return-value]
    embedder = factory.create(factory.options.model_validate({"characters": 3}), context)
    await embedder.load()
    vectors = await embedder.embed(["aaab", "BBB", "?"])
    assert vectors[:, :2].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert embedder.fingerprint == "letters/26/1"
    assert embedders.origin("letters") == "example"
    await embedder.aclose()


@pytest.mark.anyio
async def test_vanta_vector_indexes_find_nearest_neighbours(tmp_path: Path) -> None:
    import numpy as np

    indexes = example("vanta_vector_indexes", tmp_path).vector_indexes
    factory, rows = indexes["shoebox"], np.eye(3, dtype=np.float32)
    index = factory.create(factory.options(), IndexContext(tmp_path))
    partition = Partition("ada", private=False, embedder="letters/3/1", dimension=3)
    await index.load()
    await index.upsert(partition, [7, 8, 9], rows)
    assert await index.search(partition, rows[1:2], 1) == [[(8, 1.0)]]
    assert indexes.origin("shoebox") == "example"
    await index.aclose()


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
    assert str(expectation.check(2, seen)) == "expected at most 2 words; got 3"


def test_vanta_commands_can_be_run_by_name(tmp_path: Path) -> None:
    app = typer.Typer()
    for name, command in example("vanta_commands", tmp_path).commands.items():
        app.add_typer(command, name=name)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["parrot", "feed"])
    assert result.exit_code == 0, result.output
    assert result.output == "crunch\n"
