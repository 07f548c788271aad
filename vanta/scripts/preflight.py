"""Whether a runtime has what a script names, before any turn runs.

Invariant: nothing is run, opened or rendered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.errors import ScriptError, UnknownName
from vanta.scripts.model import Script
from vanta.scripts.stand_in import TRACK

if TYPE_CHECKING:
    from vanta.runtime import Runtime


def check_names(script: Script, runtime: Runtime) -> None:
    """Raises UnknownName or ScriptError, with the script's file, for a policy, a track or a system
    template that the runtime does not have."""
    try:
        _policies(script, runtime)
        _tracks(script, runtime)
        if script.system is not None:
            runtime.templates.get(f"system/{script.system}")
    except UnknownName as error:
        told = f"{script.source}: {error}"
        error.args = (told,)
        raise


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
