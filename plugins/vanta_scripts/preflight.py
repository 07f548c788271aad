"""What a script wants of a runtime is there: policies, tracks, templates, memory, embedders.

Invariant: what this accepts may still fail, what it refuses cannot work; nothing is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.errors import ScriptError, UnknownName
from vanta_scripts.checks.meaning import Likeness
from vanta_scripts.embedders import why_without
from vanta_scripts.fake_api import TRACK
from vanta_scripts.fixtures import path_of
from vanta_scripts.model import Script

if TYPE_CHECKING:
    from vanta.runtime import Runtime


def check_names(script: Script, runtime: Runtime) -> None:
    """Raises UnknownName or ScriptError, with the script's file, for what the script names and the
    runtime does not have. Blocking: it looks for files."""
    try:
        _policies(script, runtime)
        _tracks(script, runtime)
        if script.system is not None:
            runtime.templates.get(f"system/{script.system}")
        _memory(script, runtime)
        _embedders(script, runtime)
    except UnknownName as error:
        told = f"{script.source}: {error}"
        error.args = (told,)
        raise


def no_memory(script: Script, runtime: Runtime, wants: str) -> str:
    """That something of a script wants a memory, and why there is none."""
    return f"{script.source}: {wants} a memory, and there is none: {runtime.memory_off}."


def _policies(script: Script, runtime: Runtime) -> None:
    for policy in (script.policy, *(turn.policy for turn in script.turns)):
        if policy is not None and policy not in runtime.policies:
            raise UnknownName("policy", policy, runtime.policies)


def _tracks(script: Script, runtime: Runtime) -> None:
    known = {*runtime.tracks, *runtime.off, *([TRACK] if script.stands_in else [])}
    for track in (script.track, *(turn.track for turn in script.turns), *script.models):
        if track is not None and track not in known:
            raise UnknownName("track", track, known)
    for track in script.models:
        if track in runtime.off:
            raise ScriptError(
                f"{script.source}: track {track!r} of 'models' is off: {runtime.off[track]}"
            )


def _memory(script: Script, runtime: Runtime) -> None:
    asked = [turn.line for turn in script.turns if "recalled" in turn.expect]
    if runtime.memory is None and (script.fixtures or asked):
        wants = "'fixtures' need" if script.fixtures else f"'recalled' of line {asked[0]} needs"
        raise ScriptError(no_memory(script, runtime, wants))
    check_files(script)


def check_files(script: Script) -> None:
    """Raises ScriptError for a document of the fixtures that is not there. Blocking."""
    for document in script.fixtures.documents:
        if not path_of(document, script).is_file():
            raise ScriptError(
                f"{script.source}: there is no document {document.path!r} in 'fixtures'. Its path "
                "is seen from the script's folder."
            )


def _embedders(script: Script, runtime: Runtime) -> None:
    for turn in script.turns:
        likeness = turn.expect.get("similar_to")
        if not isinstance(likeness, Likeness):
            continue
        name = likeness.embedder
        if name is not None and name not in runtime.plugins.embedders:
            raise UnknownName("embedder", name, runtime.plugins.embedders)
        if name is None and why_without(runtime):
            raise ScriptError(
                f"{script.source}:{turn.line}: 'similar_to' cannot be judged: "
                f"{why_without(runtime)}. Name one: {{text: ..., embedder: ...}}."
            )
