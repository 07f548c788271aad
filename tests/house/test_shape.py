"""The shape of the code: sizes of files and functions, one name for one concept, the language."""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from tests.house.source import MODULES, ROOT, tree

LONGEST_FILE = 450
LONGEST_FUNCTION = 60
SHORTEST_FILE = 60
MOST_FILES = 16

SHORT_FOR_A_REASON = {
    "vanta.bounds.pace": "one idea",
    "vanta.cli.terminal.console": "the only file of the toolkit that imports Rich at once",
    "vanta.cli.terminal.notices": "one idea",
    "vanta.concurrency.home_process": "one idea",
    "vanta.concurrency.task_group": "one idea",
    "vanta.messages.content": "one idea",
    "vanta.storage.migrations.revisions": "the only file that imports Alembic at once",
    "vanta.storage.migrations.versions.version_3": "a revision",
    "vanta.storage.migrations.versions.version_4": "a revision",
    "vanta.storage.migrations.versions.version_5": "a revision",
    "vanta.storage.waiting": "one idea",
    "vanta.text.markers": "one table",
    "vanta_llamacpp.prompt.template_check": "a check",
    "vanta_llamacpp.prompt.tool_counts": "one idea",
    "vanta.files.parsing": "one idea",
    "vanta_mcp.client.messages": "one idea",
    "vanta_tuning.commands.curves": "shared by two commands",
    "vanta_server.anthropic.models": "one shape of one list",
    "vanta_server.openai.logprobs": "one shape, shared by two routes",
}
"""Files under 60 lines that are no fronts, each with its reason."""

DIALECT = re.compile(
    r"\b(whoever|nobody|somebody|dearer|mends?|mended|unwell|makes? sense"
    r"|(?<![Tt]here )is no (?!longer\b)[a-z]+|go(?:es)? on|told|tells|what is said|who asks)\b"
)


def lines_of(module: str) -> int:
    return MODULES[module].read_text("utf-8").count("\n")


def functions(module: str) -> Iterator[tuple[str, int]]:
    """Yield each function of a module and its length in lines."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("module", MODULES)
def test_no_file_and_no_function_is_too_long(module: str) -> None:
    assert lines_of(module) <= LONGEST_FILE
    assert [item for item in functions(module) if item[1] > LONGEST_FUNCTION] == []


def test_functions_are_short() -> None:
    lengths = sorted(length for module in MODULES for _, length in functions(module))
    assert statistics.median(lengths) <= 8
    assert lengths[len(lengths) * 9 // 10] <= 25


def test_a_short_file_has_a_reason() -> None:
    short = {
        module
        for module, path in MODULES.items()
        if lines_of(module) < SHORTEST_FILE and path.name not in {"__init__.py", "__main__.py"}
    }
    assert short == set(SHORT_FOR_A_REASON)


def test_no_folder_has_too_many_files() -> None:
    files = Counter(path.parent for path in MODULES.values() if path.name != "__main__.py")
    crowded = {str(folder.relative_to(ROOT)): n for folder, n in files.items() if n > MOST_FILES}
    assert crowded == {}


def test_one_class_name_stands_for_one_concept() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(module)
    assert {name: sorted(places) for name, places in homes.items() if len(places) > 1} == {}


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_are_plain_english(module: str) -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    words = [
        match[0]
        for node in ast.walk(tree(module))
        if isinstance(node, kinds)
        for match in DIALECT.finditer(ast.get_docstring(node) or "")
    ]
    assert words == []
