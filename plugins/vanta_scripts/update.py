"""Brings the `equals` of a script file up to what was really said.

Invariant: nothing but the values of `equals` that did not hold changes in the file, not a comment
and not a space; a file that changed since it was run is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import yaml

from vanta.errors import ScriptError
from vanta_scripts.results import ScriptResult


def update_equals(results: Iterable[ScriptResult]) -> list[str]:
    """Rewrite the files of `results`; returns `FILE:LINE` of every value that was changed.

    Runs of a script that did not agree on a reply change nothing. Blocking. Raises ScriptError.
    """
    wanted: dict[str, dict[int, set[str]]] = {}
    for result in results:
        for turn in result.turns:
            if turn.reply and any(one.expectation == "equals" for one in turn.failures):
                said = wanted.setdefault(result.source, {}).setdefault(turn.number - 1, set())
                said.add(turn.reply.text.strip())
    return [place for source, turns in wanted.items() for place in _rewrite(Path(source), turns)]


def _rewrite(path: Path, turns: dict[int, set[str]]) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        spans = [
            (_span(root, index), next(iter(said)))
            for index, said in turns.items()
            if len(said) == 1
        ]
        places = [f"{path}:{text.count(chr(10), 0, begin) + 1}" for (begin, _), _ in spans]
        for (begin, end), said in sorted(spans, reverse=True):
            tail = "\n" if text[begin:end].endswith("\n") else ""
            text = text[:begin] + json.dumps(said, ensure_ascii=False) + tail + text[end:]
        path.write_bytes(text.encode("utf-8"))
    except (OSError, ValueError, LookupError, yaml.YAMLError) as error:
        raise ScriptError(
            f"{path}: cannot be updated: {error}. Was it changed meanwhile?"
        ) from error
    return places


def _span(root: yaml.Node | None, index: int) -> tuple[int, int]:
    """Where the value of `equals` of a turn begins and ends, in characters."""
    node = root
    for key in ("turns", index, "expect", "equals"):
        node = _child(node, key)
    assert node is not None  # noqa: S101 - _child raises where there is none
    return node.start_mark.index, node.end_mark.index


def _child(node: yaml.Node | None, key: str | int) -> yaml.Node:
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        return node.value[key]  # type: ignore[no-any-return]
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value  # type: ignore[no-any-return]
    raise LookupError(f"there is no {key!r}")
