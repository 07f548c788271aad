"""The benchmark of faults: its promises about folders of strangers hold, and it would notice."""

from __future__ import annotations

import importlib
import re

from vanta.cli.bench import load_benchmarks

BENCHMARKS = load_benchmarks()
PROJECT = importlib.import_module(f"{BENCHMARKS.__name__}.faults.project_folder")


def test_a_strangers_folder_leaks_nothing_and_the_same_lines_of_the_user_count() -> None:
    taken = PROJECT.figures(BENCHMARKS.Settings(quick=True))
    figures = {figure.name: figure for figure in taken}
    assert {name: figure.value for name, figure in figures.items()} == {
        "keys that an untrusted project loosens or redirects": 0,
        "leaks of an untrusted project folder": 0,
        "keys and private turns of another server that a trusted project receives": 0,
        "databases of other programs that were written to": 0,
    }
    keys, folders, *_ = figures.values()
    assert _number(r"change (\d+) keys for the user", keys.note) > 50
    assert _number(r"have (\d+) effects", folders.note) > 8


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    assert match is not None, text
    return int(match[1])
