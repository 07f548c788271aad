"""The suite itself: every test asserts, and none touches a private name of the code under test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import MODULES, ROOT, tree

FILES = sorted((ROOT / "tests").rglob("*.py"))
ASSERTING = re.compile(
    r"(^|\.)(raises|warns|fail|assert_\w+|_?assert\w*|expect|check_schema|fnmatch_lines)$"
)
"""Calls that fail a test by themselves; `expect` is a terminal's."""

RULES_ASSERT = {
    "test_the_impatient_suite_still_passes_a_good_engine",
    "test_the_impatient_suite_still_passes_a_good_index",
}
"""Tests that call the rules of a conformance suite by name."""


def _tests(parsed: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("test_"):
            yield node


def _asserts(node: ast.AST, helpers: dict[str, ast.AST], seen: frozenset[str]) -> bool:
    """Whether a function asserts, itself or through a helper of its module."""
    for child in ast.walk(node):
        if isinstance(child, ast.Assert):
            return True
        if isinstance(child, ast.Call):
            name = ast.unparse(child.func)
            if ASSERTING.search(name):
                return True
            inner = helpers.get(name)
            if inner and name not in seen and _asserts(inner, helpers, seen | {name}):
                return True
    return False


def _private_names() -> frozenset[str]:
    """Return the private names that the code under test defines."""
    names = set()
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return frozenset(name for name in names if re.match(r"_[a-zA-Z]", name))


PRIVATE = _private_names()

OF_LIBRARIES = {"os._exit", "api._server", "api._server._session"}
"""Private names of the standard library, and of chromadb, whose client has no public close."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_asserts(path: Path) -> None:
    parsed = ast.parse(path.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    helpers: dict[str, ast.AST] = {n.name: n for n in parsed.body if isinstance(n, functions)}
    silent = {node.name for node in _tests(parsed) if not _asserts(node, helpers, frozenset())}
    assert silent - RULES_ASSERT == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_touches_a_private_name_of_the_code_under_test(path: Path) -> None:
    text = path.read_text("utf-8")
    touched = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr in PRIVATE
        if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
        if ast.unparse(node) not in OF_LIBRARIES
    ]
    patched = re.findall(r"""["']vanta\w*(?:\.\w+)*\._[a-z]\w*["']""", text)
    assert touched + patched == []
