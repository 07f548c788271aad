"""Files are read by `vanta.files`, which refuses devices and pipes and has a limit."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.source import MODULES, tree

READERS = {"read_text", "read_bytes"}
KERNEL = "files of the kernel"
READS_FOR_A_REASON = {
    "vanta.concurrency.resource_limits": KERNEL,
    "vanta.context.estimate_calibration": "data of vanta itself",
    "vanta.installation": "the metadata of an installed distribution",
    "vanta.models.fit": KERNEL,
    "vanta.money.reservation": KERNEL,
    "vanta.storage.ownership": "looks at the kind of the file first",
    "vanta_llamacpp.model.native": KERNEL,
    "vanta_openai.token_counting": "the metadata of installed distributions",
}
"""Modules that read a file by themselves, each with its reason."""


def reads(module: str) -> Iterator[int]:
    """Yield the lines of a module that read a file without `vanta.files`."""
    for node in ast.walk(tree(module)):
        if not isinstance(node, ast.Call):
            continue
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        opens = method == "open" and "rb" in modes
        own = isinstance(node.func, ast.Attribute) and method in READERS
        if opens or own:
            yield node.lineno


@pytest.mark.parametrize("module", [name for name in MODULES if ".testing" not in name])
def test_files_are_read_within_limits(module: str) -> None:
    assert (list(reads(module)) == []) or module in READS_FOR_A_REASON


def test_every_reason_is_needed() -> None:
    assert [module for module in READS_FOR_A_REASON if not list(reads(module))] == []
