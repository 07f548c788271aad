"""Before a run: find and select scripts, and check them against a runtime.

Invariant: a file named explicitly is taken whatever its name. In a folder, scripts are the files
that end in `.yaml` or `.yml`, hidden ones excluded, in the order of their names. The record of the
last failures holds names and no text, and an unreadable record counts as an empty one. A check
loads nothing; a script that fails it cannot run, one that passes may still fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vanta import ScriptError, UnknownName
from vanta.files import parse_json, read_file, write_private
from vanta_scripts.acting.toolsets import own_toolsets
from vanta_scripts.checks.meanings import Likeness
from vanta_scripts.isolation import document_path
from vanta_scripts.script import Script
from vanta_scripts.stand_in import TRACK
from vanta_scripts.tracks import why_no_embedder

if TYPE_CHECKING:
    from vanta import Runtime
    from vanta_scripts.results import RunReport

_MAX_BYTES = 1 << 24

_SUFFIXES = (".yaml", ".yml")
_LAST_FAILED = "last_failed.json"
_TOKEN = re.compile(r"\s*(?:(\(|\))|([^\s()]+))")
_Condition = Callable[[str], bool]


def find_scripts(paths: Iterable[Path]) -> list[Path]:
    """Return the script files at `paths`, each once. Blocking.

    :param paths: files, and folders to search.
    :raises ScriptError: if a folder has no script.
    """
    files: dict[Path, None] = {}
    for path in paths:
        inside = sorted(_files_in(path)) if path.is_dir() else [path]
        if not inside:
            raise ScriptError(
                f"{path}: there is no script in this folder. Scripts end in .yaml or .yml."
            )
        files |= dict.fromkeys(inside)
    return list(files)


def select(
    scripts: Collection[Script], *, words: str = "", tags: Collection[str] = ()
) -> list[Script]:
    """Return the scripts that match an expression and have one of the tags.

    :param scripts: the scripts to select from.
    :param words: an expression such as `greets and not (slow or api)`, empty for all. A word
        matches a part of the title, the file's name or a tag, in any case.
    :param tags: tags of which a script needs one; empty for all scripts.
    :raises ScriptError: if the expression cannot be parsed.
    """
    matches = _Expression(words).matches if words.strip() else lambda _script: True
    return [
        script for script in scripts if matches(script) and (not tags or set(tags) & {*script.tags})
    ]


def record_failures(report: RunReport, data_dir: Path) -> None:
    """Record which scripts of `report` failed; scripts without a verdict keep their state.

    Blocking.
    """
    failures = _read_failures(data_dir)
    failures -= {_key(outcome.script) for outcome in report.outcomes if outcome.passed}
    failures |= {_key(outcome.script) for outcome in report.outcomes if outcome.failed}
    with contextlib.suppress(OSError):
        write_private(data_dir / _LAST_FAILED, json.dumps(sorted(failures)))


def last_failed(scripts: Sequence[Script], data_dir: Path) -> list[Script]:
    """Return the scripts that failed in their last run, or all if none did. Blocking."""
    failures = _read_failures(data_dir)
    return [script for script in scripts if _key(script) in failures] or list(scripts)


def check_names(script: Script, runtime: Runtime) -> None:
    """Check that the runtime has everything that the script names. Blocking.

    :param script: the script.
    :param runtime: the runtime that is to run it.
    :raises UnknownName: for an unknown policy, track, template, embedder or toolset.
    :raises ScriptError: for a track that is off, missing memory or a missing document.
    """
    try:
        _check_policies(script, runtime)
        _check_tracks(script, runtime)
        if script.system is not None:
            runtime.templates.get(f"system/{script.system}")
        _check_memory(script, runtime)
        _check_embedders(script, runtime)
        _check_toolsets(script, runtime)
    except UnknownName as error:
        error.args = (f"{script.source}: {error}",)
        raise


def check_files(script: Script) -> None:
    """Check that every document of the fixtures exists. Blocking.

    :param script: the script.
    :raises ScriptError: if a document does not exist.
    """
    for document in script.fixtures.documents:
        if not document_path(document, script).is_file():
            raise ScriptError(
                f"{script.source}: there is no document {document.path!r} in 'fixtures'. Its path "
                "is relative to the script's folder."
            )


def no_memory(script: Script, runtime: Runtime, subject: str) -> str:
    """Return the message that `subject` (with its verb) a memory which the runtime lacks."""
    return f"{script.source}: {subject} a memory, but there is none: {runtime.memory_off}."


def _files_in(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        yield from (
            Path(here, name)
            for name in files
            if name.endswith(_SUFFIXES) and not name.startswith(".")
        )


def _key(script: Script) -> str:
    return f"{Path(script.source).resolve()}::{script.name}"


def _read_failures(data_dir: Path) -> set[str]:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return set(parse_json(read_file(data_dir / _LAST_FAILED, _MAX_BYTES)))
    return set()


def _check_policies(script: Script, runtime: Runtime) -> None:
    for policy in (script.policy, *(turn.policy for turn in script.turns)):
        if policy is not None and policy not in runtime.policies:
            raise UnknownName("policy", policy, runtime.policies)


def _check_tracks(script: Script, runtime: Runtime) -> None:
    known = {*runtime.tracks, *runtime.off, *([TRACK] if script.uses_stand_in else [])}
    for track in (script.track, *(turn.track for turn in script.turns), *script.models):
        if track is not None and track not in known:
            raise UnknownName("track", track, known)
    for track in script.models:
        if track in runtime.off:
            raise ScriptError(
                f"{script.source}: track {track!r} of 'models' is off: {runtime.off[track]}"
            )


def _check_memory(script: Script, runtime: Runtime) -> None:
    lines = [turn.line for turn in script.turns if "recalled" in turn.expect]
    if runtime.memory is None and (script.fixtures.need_memory or lines):
        named = script.fixtures.need_memory
        subject = "'fixtures' need" if named else f"'recalled' in line {lines[0]} needs"
        raise ScriptError(no_memory(script, runtime, subject))
    check_files(script)


def _check_embedders(script: Script, runtime: Runtime) -> None:
    for turn in script.turns:
        likeness = turn.expect.get("similar_to")
        if not isinstance(likeness, Likeness):
            continue
        name = likeness.embedder
        if name is not None and name not in runtime.plugins.embedders:
            raise UnknownName("embedder", name, runtime.plugins.embedders)
        if name is None and why_no_embedder(runtime):
            raise ScriptError(
                f"{script.source}:{turn.line}: 'similar_to' cannot be judged: "
                f"{why_no_embedder(runtime)}. Name an embedder: {{text: ..., embedder: ...}}."
            )


def _check_toolsets(script: Script, runtime: Runtime) -> None:
    own = own_toolsets(script)
    for name in script.toolsets:
        if name in own or name in runtime.toolsets:
            continue
        known = runtime.plugins.toolsets
        if name not in known:
            raise UnknownName("toolset", name, {*known, *runtime.toolsets})
        pages = " It is the script's own if 'fixtures' has 'pages'." if name == "fetch" else ""
        raise ScriptError(
            f"{script.source}: the toolset {name!r} is not on in your configuration, and a script "
            f"cannot turn it on: add it to `tools.use` if scripts may use it.{pages}"
        )


class _Expression:
    """An expression of words, `and`, `or`, `not` and parentheses, parsed by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [bracket or word for bracket, word in _TOKEN.findall(text)]
        self._next = 0
        self._condition = self._disjunction()
        if self._next < len(self._tokens):
            self._refuse()

    def matches(self, script: Script) -> bool:
        """Return whether the script matches."""
        names = " ".join((script.title, Path(script.source).name, *script.tags)).casefold()
        return self._condition(names)

    def _disjunction(self) -> _Condition:
        sides = [self._conjunction()]
        while self._take("or"):
            sides.append(self._conjunction())
        return lambda names: any(side(names) for side in sides)

    def _conjunction(self) -> _Condition:
        sides = [self._operand()]
        while self._take("and"):
            sides.append(self._operand())
        return lambda names: all(side(names) for side in sides)

    def _operand(self) -> _Condition:
        if self._take("not"):
            operand = self._operand()
            return lambda names: not operand(names)
        if self._take("("):
            inner = self._disjunction()
            if not self._take(")"):
                self._refuse()
            return inner
        if self._next >= len(self._tokens) or self._tokens[self._next] in ("and", "or", ")"):
            self._refuse()
        word = self._tokens[self._next].casefold()
        self._next += 1
        return lambda names: word in names

    def _take(self, token: str) -> bool:
        is_next = self._next < len(self._tokens) and self._tokens[self._next] == token
        self._next += is_next
        return is_next

    def _refuse(self) -> None:
        place = repr(self._tokens[self._next]) if self._next < len(self._tokens) else "its end"
        raise ScriptError(
            f"the expression {self._text!r} cannot be parsed at {place}. "
            "Join words with `and`, `or`, `not` and parentheses."
        )
