"""Read the project's modules without running them: names, docstrings, imports."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Import:
    """One import: `from module import name`, or `import module` where the name is empty.

    `when` says when it runs: with its module ("eager"), in a function ("lazy"), or never, for the
    type checker alone ("typing").
    """

    module: str
    name: str
    when: Literal["eager", "lazy", "typing"]

    @property
    def target(self) -> str:
        """Return the imported module: `from a import b` may name the module a.b."""
        inner = f"{self.module}.{self.name}"
        return inner if self.name and inner in MODULES else self.module


def _modules() -> dict[str, Path]:
    paths = {}
    for folder in (ROOT / "vanta", *plugin_folders()):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            if "_data" not in parts:
                paths[".".join(parts).removesuffix(".__init__")] = path
    return paths


def plugin_folders() -> list[Path]:
    """Return the import packages under `plugins/`."""
    return sorted(path.parent for path in (ROOT / "plugins").glob("*/__init__.py"))


def script(name: str) -> ModuleType:
    """Return the script `docs/NAME.py` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def tree(module: str) -> ast.Module:
    """Return the module's syntax tree."""
    return ast.parse(MODULES[module].read_text("utf-8"))


def imports(module: str) -> list[Import]:
    """Return every import of the module, annotations and lazy ones included."""
    return imports_of(tree(module))


def imports_of(parsed: ast.Module) -> list[Import]:
    """Return the same for any syntax tree."""
    return list(_imports(parsed, "eager"))


def _imports(node: ast.AST, when: Literal["eager", "lazy", "typing"]) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, "", when) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "write imports in full"
            yield from (Import(child.module or "", alias.name, when) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from _imports(child, "typing")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(child, "lazy" if when == "eager" else when)
        else:
            yield from _imports(child, when)


MODULES = _modules()
