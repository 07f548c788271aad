"""Reads the project's modules without running them: names, docstrings, imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Import:
    """One import. module: what is imported from. name: what is taken, "" for a whole module.

    lazy: it stands in a function and runs only when that is called.
    """

    module: str
    name: str
    lazy: bool

    @property
    def target(self) -> str:
        """The module that is imported in truth: `from a import b` may name the module a.b."""
        inner = f"{self.module}.{self.name}"
        return inner if self.name and inner in MODULES else self.module


def _modules() -> dict[str, Path]:
    found = {}
    for folder in (ROOT / "vanta", *plugin_folders()):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            if "_data" not in parts:
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def plugin_folders() -> list[Path]:
    """The import packages under `plugins/`."""
    return sorted(path.parent for path in (ROOT / "plugins").glob("*/__init__.py"))


def tree(module: str) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(MODULES[module].read_text("utf-8"))


def imports(module: str) -> list[Import]:
    """All that the module imports when it runs; what stands under TYPE_CHECKING does not."""
    return imports_of(tree(module))


def imports_of(parsed: ast.Module) -> list[Import]:
    """The same of any syntax tree."""
    return list(_imports(parsed, lazy=False))


def _imports(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, "", lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "write imports in full"
            yield from (Import(child.module or "", alias.name, lazy) for alias in child.names)
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(child, lazy=lazy or inner)


MODULES = _modules()
