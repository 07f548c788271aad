"""The rules of the house on who may import whom."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import subprocess
import sys

import pytest

from tests.house.source import MODULES, ROOT, imports, plugin_folders, script, tree

PLUGINS = {folder.name for folder in plugin_folders()}
VANTA = [module for module in MODULES if module.split(".")[0] == "vanta"]

ARCHITECTURE = script("build_architecture")

HEAVY = (
    "alembic",
    "chromadb",
    "httpx2",
    "llama_cpp",
    "numpy",
    "onnx",
    "onnxruntime",
    "openai",
    "sqlalchemy",
    "tiktoken",
    "tokenizers",
)
EDGES = ("jinja2", "pydantic", "rich", "typer", "yaml")


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `code`."""
    tail = "import json, sys; print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tail}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_rooms_and_the_plugins_are_found() -> None:
    assert {"vanta.errors", "vanta.scheduling.policy", "vanta_openai"} <= set(MODULES)
    assert {"vanta_llamacpp", "vanta_openai"} <= PLUGINS


@pytest.mark.parametrize("module", VANTA)
def test_vanta_imports_no_plugin_and_no_engine_library(module: str) -> None:
    roots = {found.module.split(".")[0] for found in imports(module)}
    assert not roots & {*PLUGINS, "llama_cpp", "openai", "chromadb"}


def test_rooms_stand_on_floors_and_the_picture_shows_them() -> None:
    assert ARCHITECTURE.floors(ARCHITECTURE.graph())
    assert ARCHITECTURE.PICTURE.read_text("utf-8") == ARCHITECTURE.svg(), "run `make docs`"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Annotations and lazy imports count."""
    graph = {module: {found.target for found in imports(module)} - {module} for module in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(MODULES) <= set(order)


def test_importing_vanta_loads_nothing_heavy() -> None:
    assert not loaded_by("import vanta") & {*HEAVY, *EDGES, *PLUGINS}


def test_asking_for_help_loads_no_engine_and_no_database() -> None:
    code = (
        "import contextlib, io, sys\n"
        "sys.argv = ['vanta', '--help']\n"
        "from vanta.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as shown, "
        "contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "assert 'chat' in shown.getvalue(), shown.getvalue()\n"
    )
    assert not loaded_by(code) & set(HEAVY)


@pytest.mark.parametrize("module", [name for name in MODULES if "._" not in name])
def test_every_public_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(tree(module))


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_declares_public_is_sorted_and_there(module: str) -> None:
    if "__all__" not in MODULES[module].read_text("utf-8"):
        return
    found = importlib.import_module(module)
    names = list(found.__all__)
    assert names == sorted(set(names), key=_as_ruff_sorts)
    assert [name for name in names if not hasattr(found, name)] == []


def test_the_project_asks_for_what_vanta_imports() -> None:
    """Third-party modules that vanta imports unconditionally are dependencies of its own."""
    asked = (ROOT / "pyproject.toml").read_text("utf-8")
    known = {
        "markdown_it": "markdown-it-py",
        "yaml": "pyyaml",
        "opentelemetry": "opentelemetry-api",
        "pydantic_core": "pydantic",
    }
    for module in VANTA:
        if module.startswith("vanta.testing"):
            continue  # the extra `testing`
        for found in imports(module):
            root = found.module.split(".")[0]
            if root not in sys.stdlib_module_names and root != "vanta":
                assert f'"{known.get(root, root).replace("_", "-")}>=' in asked, (module, root)


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
